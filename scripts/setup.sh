#!/usr/bin/env bash
# Installs what building and running need and is not there yet: system libraries (Debian, Ubuntu) and a Rust toolchain.
# Sourced by scripts/run and scripts/test, which may name further packages in MORE_PACKAGES.
set -euo pipefail

RUST_NEEDED=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
PACKAGES=(
  build-essential pkg-config ca-certificates curl
  libgdal-dev
  libsqlite3-dev
  # What the window loads when it opens; mesa-vulkan-drivers draws without a graphics card.
  libvulkan1 mesa-vulkan-drivers libwayland-client0 libx11-6 libx11-xcb1 libxcursor1 libxi6 libxkbcommon0 libxkbcommon-x11-0 libxrandr2
  ${MORE_PACKAGES:-}
)

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

install_packages() {
  if ! command -v apt-get >/dev/null; then
    command -v gdal-config >/dev/null || echo "This is no Debian or Ubuntu: install GDAL's and SQLite's development files, a C compiler and pkg-config yourself." >&2
    return
  fi
  local missing=()
  for package in "${PACKAGES[@]}"; do installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -eq 0 ] && return
  echo "Installing ${missing[*]} …" >&2
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

rust_is_new_enough() {
  command -v cargo >/dev/null || return 1
  local found
  found=$(rustc --version 2>/dev/null | cut -d' ' -f2) || return 1
  [ "$(printf '%s\n%s\n' "$RUST_NEEDED" "$found" | sort -V | head -n 1)" = "$RUST_NEEDED" ]
}

install_rust() {
  [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
  rust_is_new_enough && return
  echo "Installing a Rust toolchain (at least $RUST_NEEDED) …" >&2
  if ! command -v rustup >/dev/null && command -v apt-get >/dev/null && apt-cache show rustup >/dev/null 2>&1; then
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq rustup >&2
  fi
  if command -v rustup >/dev/null; then
    rustup toolchain install stable --profile minimal --component clippy --component rustfmt >&2
    rustup default stable >&2
  else
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --component clippy --component rustfmt >&2
    . "$HOME/.cargo/env"
  fi
  rust_is_new_enough || { echo "Rust $RUST_NEEDED or newer is needed, and it could not be installed." >&2; exit 1; }
}

install_packages
install_rust
