//! What the tests of the program share.

pub mod catalogue;
#[cfg(feature = "window")]
pub mod harness;
pub mod major_tom;
pub mod mirror;
pub mod published;
pub mod server;

use assert_cmd::Command;
use std::path::{Path, PathBuf};

/// A folder of the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A bundled scene.
pub fn scene(name: &str) -> PathBuf {
    project("assets/scenes").join(name)
}

/// The scene that all ten image modalities exist for.
pub const COMPLETE: &str = "433D_629L_3_1";

/// The program.
pub fn copgen() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_copgen"));
    command.env("COPGEN_HOME", env!("CARGO_MANIFEST_DIR"));
    // Without it a layer of Mesa's complains on the error stream whenever adapters are looked for.
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    command
}

/// `copgen generate` on a scene.
pub fn generate(scene: &Path, out: &Path, arguments: &[&str]) -> Command {
    let mut command = copgen();
    command.arg("generate").arg("--scene").arg(scene).arg("--out").arg(out).args(arguments);
    command
}

/// Runs a command that must succeed; returns what it printed.
pub fn success(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "exit {:?}: {error}", output.status.code());
    String::from_utf8(output.stdout).expect("printed text")
}

/// Runs a command that must fail with this exit code and without a panic; returns its message.
pub fn failure(command: &mut Command, code: i32) -> String {
    let output = command.output().expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

/// Runs a command that must succeed; its largest memory, bytes, and 0 where the system does not tell.
pub fn peak_memory(command: &Command) -> u64 {
    let mut plain = std::process::Command::new(command.get_program());
    plain.args(command.get_args()).stdout(std::process::Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => plain.env(name, value),
            None => plain.env_remove(name),
        };
    }
    let mut child = plain.spawn().expect("the program starts");
    let path = format!("/proc/{}/status", child.id());
    let so_far = || -> Option<u64> {
        let text = std::fs::read_to_string(&path).ok()?;
        let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    };
    let mut most = 0;
    loop {
        most = most.max(so_far().unwrap_or(0));
        match child.try_wait().expect("status") {
            Some(status) => {
                assert!(status.success(), "{status}");
                return most;
            }
            None => std::thread::sleep(std::time::Duration::from_millis(2)),
        }
    }
}

/// The same command, run by a shell after this preparation (`umask 027`).
#[cfg(unix)]
pub fn prepared(preparation: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{preparation}; exec \"$@\""), "sh"]).arg(command.get_program());
    shell.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// Access rights of everything below a folder, itself included: of folders, and of files.
#[cfg(unix)]
pub fn access_rights(dir: &Path) -> [std::collections::BTreeSet<u32>; 2] {
    use std::os::unix::fs::PermissionsExt;
    let (mut open, mut found) = (vec![dir.to_path_buf()], [Default::default(), Default::default()]);
    let [folders, plain]: &mut [std::collections::BTreeSet<u32>; 2] = &mut found;
    while let Some(path) = open.pop() {
        let metadata = std::fs::metadata(&path).expect("metadata");
        let mode = metadata.permissions().mode() & 0o777;
        if metadata.is_dir() {
            folders.insert(mode);
            open.extend(files(&path).iter().map(|name| path.join(name)));
        } else {
            plain.insert(mode);
        }
    }
    found
}

/// Copies a scene so that it can be damaged.
pub fn copy_scene(name: &str, to: &Path) -> PathBuf {
    let target = to.join(name);
    std::fs::create_dir_all(&target).expect("folder");
    for entry in std::fs::read_dir(scene(name)).expect("scene") {
        let entry = entry.expect("entry");
        std::fs::copy(entry.path(), target.join(entry.file_name())).expect("copy");
    }
    target
}

/// Puts a number into one elevation of every `every` along both sides of a scene's.
pub fn punch_elevation(scene: &Path, every: usize, value: f32) {
    let options = gdal::DatasetOptions { open_flags: gdal::GdalOpenFlags::GDAL_OF_UPDATE, ..Default::default() };
    let dem = gdal::Dataset::open_ex(scene.join("DEM.tif"), options).expect("raster");
    let mut band = dem.rasterband(1).expect("band");
    let (width, height) = dem.raster_size();
    let mut heights = band.read_as::<f32>((0, 0), (width, height), (width, height), None).expect("heights");
    let pixels = heights.data_mut().iter_mut().enumerate();
    let chosen = |pixel: usize| (pixel % width).is_multiple_of(every) && (pixel / width).is_multiple_of(every);
    pixels.filter(|(pixel, _)| chosen(*pixel)).for_each(|(_, v)| *v = value);
    band.write((0, 0), (width, height), &mut heights).expect("write");
}

/// Names of the files in a folder, sorted; none if it does not exist.
pub fn files(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
