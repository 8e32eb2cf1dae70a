//! Temporary files and folders beside what they become, and the removal of those whose process has ended.
//!
//! A temporary name is `.unfinished-PROCESS-RANDOM`, where `PROCESS` says which process made it (machine, start of the
//! system, process number, start of the process). A process that is killed leaves such a name behind; the next process
//! that writes into the same folder removes it. What belongs to a process that still runs is never touched, and where
//! that cannot be known (another machine, another container, an earlier version) only what is older than a day goes.

use super::hex;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::Metadata;
use std::io::Result;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tempfile::{Builder, NamedTempFile, TempDir};

/// So begin names of files and folders that are being made or removed.
pub const UNFINISHED: &str = ".unfinished-";

/// What is older than this is abandoned, whoever made it.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A new temporary file in a folder; it gets the access rights of any new file, as the user's umask has it.
///
/// # Errors
/// When the folder cannot be written.
pub fn temporary_file(dir: &Path, suffix: &str) -> Result<NamedTempFile> {
    remove_abandoned_once(dir);
    let prefix = own_prefix();
    let mut builder = Builder::new();
    builder.prefix(&prefix).suffix(suffix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(dir)
}

/// A new temporary folder in a folder, with the access rights of any new folder.
///
/// # Errors
/// When the folder cannot be written.
pub fn temporary_folder(dir: &Path) -> Result<TempDir> {
    remove_abandoned_once(dir);
    let prefix = own_prefix();
    let mut builder = Builder::new();
    builder.prefix(&prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    builder.tempdir_in(dir)
}

/// A temporary name for something of this name that is about to be removed, always the same in one process: what is left
/// if the removal breaks off is taken for nothing, and goes with the next removal.
pub fn doomed_name(name: &str) -> String {
    format!("{}{}", own_prefix(), digits(name))
}

/// Whether a file or folder is being made or removed, or was when its process ended.
pub fn is_unfinished(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED))
}

/// Removes what ended processes left in a folder. What cannot be read or removed stays for the next time.
pub fn remove_abandoned(dir: &Path) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| is_unfinished(path) && is_abandoned(path)) {
        let is_folder = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        let removed = if is_folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        if let Err(error) = super::absent(removed) {
            tracing::debug!("{} cannot be removed: {error}", path.display());
        }
    }
}

/// As [`remove_abandoned`], the first time this process writes into the folder.
fn remove_abandoned_once(dir: &Path) {
    static SEEN: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);
    let new = {
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        let path = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
        seen.get_or_insert_with(HashSet::new).insert(path)
    };
    if new {
        remove_abandoned(dir);
    }
}

fn is_abandoned(path: &Path) -> bool {
    let Ok(found) = std::fs::symlink_metadata(path) else { return false };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let maker = name.strip_prefix(UNFINISHED).and_then(Maker::parse);
    match maker.map_or(Alive::Unknown, |maker| maker.alive(&found)) {
        Alive::Yes => false,
        Alive::No => true,
        Alive::Unknown => found.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LONGEST)),
    }
}

fn own_prefix() -> String {
    format!("{UNFINISHED}{}-", Maker::own().text())
}

/// Whether a process still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alive {
    Yes,
    No,
    /// It runs or ran where it cannot be looked for.
    Unknown,
}

/// The process that made something.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Maker {
    /// Names the machine, and the container on it, by eight digits.
    machine: String,
    /// Names the time since the machine was switched on, by eight digits: process numbers begin anew with each.
    boot: String,
    process: u32,
    /// When the process began, in a unit of the system's: numbers are used again.
    start: u64,
}

impl Maker {
    /// This process.
    fn own() -> &'static Self {
        static OWN: OnceLock<Maker> = OnceLock::new();
        OWN.get_or_init(|| {
            let process = std::process::id();
            Self { machine: machine(), boot: boot(), process, start: start_of(process).unwrap_or(0) }
        })
    }

    fn text(&self) -> String {
        format!("{}{}_{}_{}", self.machine, self.boot, self.process, self.start)
    }

    /// Reads what follows [`UNFINISHED`]; `None` for a name of another kind.
    fn parse(rest: &str) -> Option<Self> {
        let (maker, _) = rest.split_once('-')?;
        let mut parts = maker.split('_');
        let (place, process, start) = (parts.next()?, parts.next()?, parts.next()?);
        let plain = place.len() == 16 && place.bytes().all(|b| b.is_ascii_hexdigit()) && parts.next().is_none();
        let (machine, boot) = plain.then(|| place.split_at(8))?;
        let (process, start) = (process.parse().ok()?, start.parse().ok()?);
        Some(Self { machine: machine.into(), boot: boot.into(), process, start })
    }

    fn alive(&self, found: &Metadata) -> Alive {
        let own = Self::own();
        if self.machine != own.machine {
            return Alive::Unknown;
        }
        match (self.boot == own.boot).then(|| start_of(self.process)) {
            // The machine has been switched off since.
            None => Alive::No,
            Some(Some(start)) if start == self.start => Alive::Yes,
            Some(Some(_)) => Alive::No,
            // A system may hide the processes of other users.
            Some(None) if is_own(found) => Alive::No,
            Some(None) => Alive::Unknown,
        }
    }
}

fn digits(text: &str) -> String {
    hex(&Sha256::digest(text)[..4])
}

/// The machine, and on Linux the container: process numbers count in each by themselves.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let container = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let name = sysinfo::System::host_name().unwrap_or_default();
    digits(&format!("{} {} {name}", read("/etc/machine-id"), container.display()))
}

#[cfg(target_os = "linux")]
fn boot() -> String {
    digits(&std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default())
}

#[cfg(not(target_os = "linux"))]
fn boot() -> String {
    // Processes begin at a point in time here.
    digits("")
}

/// When a process began; `None` if there is none of this number. On Linux counted from the start of the system, which a
/// clock that is put right does not move.
#[cfg(target_os = "linux")]
fn start_of(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the program's name in brackets, and may hold anything; the state is the third, the start the 22nd.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    // One that has ended stays listed until its parent has asked how.
    fields.next().filter(|state| !["Z", "X"].contains(state))?;
    fields.nth(18)?.parse().ok()
}

#[cfg(not(target_os = "linux"))]
fn start_of(process: u32) -> Option<u64> {
    use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
    let mut system = System::new().ok()?;
    let wanted = Pid::from_u32(process);
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[wanted]), true, ProcessRefreshKind::nothing());
    system.process(wanted).map(sysinfo::Process::start_time)
}

/// Whether a file is this user's.
#[cfg(target_os = "linux")]
fn is_own(found: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == found.uid())
}

/// All processes are seen here.
#[cfg(not(target_os = "linux"))]
fn is_own(_found: &Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    /// A name as a process of this number and start would have made it.
    fn name_of(maker: &Maker) -> String {
        format!("{UNFINISHED}{}-abcdef", maker.text())
    }

    #[test]
    fn what_a_process_that_has_ended_left_behind_goes_and_nothing_else() {
        let dir = tempfile::tempdir().expect("folder");
        let own = Maker::own();
        assert_eq!(Maker::parse(&format!("{}-abcdef", own.text())).as_ref(), Some(own));
        // Numbers of processes end below this one.
        let ended = Maker { process: u32::MAX - 1, ..own.clone() };
        let other_start = Maker { start: own.start + 1, ..own.clone() };
        let before = Maker { boot: "00000000".into(), ..own.clone() };
        let elsewhere = Maker { machine: "00000000".into(), ..ended.clone() };
        let make = |name: &str, folder: bool| {
            let path = dir.path().join(name);
            match folder {
                true => std::fs::create_dir(&path).and_then(|()| std::fs::write(path.join("a.tif"), "half")),
                false => std::fs::write(&path, "half"),
            }
            .expect("made");
            path
        };
        let gone = [
            make(&name_of(&ended), false),
            make(&format!("{}.tif", name_of(&other_start)), false),
            make(&name_of(&before), true),
        ];
        let stays = [
            make(&name_of(own), true),
            make(&name_of(&elsewhere), false),
            make(".unfinished-Ab12cD", true),
            make("unfinished-symphony.tif", false),
        ];
        let made = temporary_file(dir.path(), ".tif").expect("file");
        assert!(gone.iter().all(|path| !path.exists()), "{gone:?}");
        assert!(stays.iter().all(|path| path.exists()) && made.path().exists(), "{stays:?}");
        // A day later, what nobody knows the maker of is abandoned, too.
        let yesterday = SystemTime::now() - 2 * LONGEST;
        for path in &stays[1..] {
            std::fs::File::open(path).and_then(|file| file.set_modified(yesterday)).expect("date");
        }
        remove_abandoned(dir.path());
        assert_eq!(stays.each_ref().map(|path| path.exists()), [true, false, false, true]);
    }
}
