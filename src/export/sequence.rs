//! The one sequence in which an export is written: everything that could be in its way is found before anything is
//! computed, files are made in a hidden folder, and appear together.

use super::{ExportRequest, Exporter, Lineage, range};
use crate::ensemble::Realisation;
use crate::error::{Error, Result};
use crate::files::{MadeFolder, check_name, temporary_folder};
use crate::scene::refuse_existing;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Writes what is asked for of realisations that are there: all files appear, or none. Returns their paths.
///
/// # Errors
/// When a file exists and must not be replaced, its name is too long, something cannot be written, or there is no
/// realisation; nothing is left behind then.
pub fn export(
    request: ExportRequest,
    lineage: &Arc<Lineage>,
    realisations: &[Arc<Realisation>],
) -> Result<Vec<PathBuf>> {
    let indices: Vec<u64> = realisations.iter().map(|r| r.index).collect();
    let mut export = Export::begin(request, lineage.clone(), &indices)?;
    for realisation in realisations {
        export.add(realisation)?;
    }
    export.finish()
}

/// An export of realisations that come one by one. What was not handed out when it ends leaves no trace.
#[derive(Debug)]
pub struct Export {
    request: ExportRequest,
    lineage: Arc<Lineage>,
    realisations: Vec<Arc<Realisation>>,
    /// Files in the hidden folder that still have to appear.
    ready: Vec<PathBuf>,
    /// Files at their place.
    written: Vec<PathBuf>,
    // Dropped in this order: a folder that was made for nothing is empty then.
    hidden: TempDir,
    _made: MadeFolder,
}

impl Export {
    /// Makes sure that all files of realisations with these numbers can be written, before any of them is computed.
    ///
    /// # Errors
    /// When there is no realisation, the folder cannot be written to, a file exists and must not be replaced, or its
    /// name is too long.
    pub fn begin(request: ExportRequest, lineage: Arc<Lineage>, indices: &[u64]) -> Result<Self> {
        let dir = &request.dir;
        let files = files(&request, &lineage, indices);
        if !request.overwrite {
            refuse_existing(&files)?;
        }
        if let Some(path) = files.iter().find(|path| path.is_dir()) {
            return Err(Error::file(path, "There is a folder of this name; choose another folder to write to"));
        }
        let made = MadeFolder::make(dir)?;
        let hidden = temporary_folder(dir).map_err(|e| Error::io(dir, "write to", &e))?;
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_owned());
        if let Some(longest) = files.iter().filter_map(name).max_by_key(|name| name.len()) {
            check_name(hidden.path(), &longest).map_err(|e| e.moved(hidden.path(), dir))?;
        }
        let (realisations, ready, written) = Default::default();
        Ok(Self { lineage, realisations, ready, written, hidden, _made: made, request })
    }

    /// Takes a finished realisation and writes its own files.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn add(&mut self, realisation: &Arc<Realisation>) -> Result<()> {
        if self.request.realisations {
            let files = self.exporter(self.hidden.path()).realisation(realisation);
            self.ready.extend(files.map_err(|e| self.seen(e))?);
        }
        self.realisations.push(realisation.clone());
        Ok(())
    }

    /// Has the files appear that were written so far, all of them or none: what comes later may fail without them.
    ///
    /// # Errors
    /// When they cannot be moved to their place, or a file lies there meanwhile that must not be replaced.
    pub fn hand_out(&mut self) -> Result<()> {
        let targets: Vec<PathBuf> = self.ready.iter().map(|file| self.place_of(file)).collect();
        if !self.request.overwrite {
            refuse_existing(&targets)?;
        }
        move_all(&self.ready, &targets, self.hidden.path()).map_err(|e| self.seen(e))?;
        self.ready.clear();
        self.written.extend(targets);
        Ok(())
    }

    /// Numbers of the realisations that were taken.
    pub fn finished(&self) -> usize {
        self.realisations.len()
    }

    /// Files that have appeared so far.
    pub fn written(&self) -> &[PathBuf] {
        &self.written
    }

    /// Writes what is asked for of all realisations together, and has it appear. Returns all files.
    ///
    /// # Errors
    /// As [`hand_out`](Self::hand_out), or when something cannot be written.
    pub fn finish(&mut self) -> Result<Vec<PathBuf>> {
        if !self.realisations.is_empty() {
            let files = self.together();
            self.ready.extend(files.map_err(|e| self.seen(e))?);
            self.hand_out()?;
        }
        Ok(self.written.clone())
    }

    fn together(&self) -> Result<Vec<PathBuf>> {
        let exporter = self.exporter(self.hidden.path());
        let realisations: Vec<&Realisation> = self.realisations.iter().map(AsRef::as_ref).collect();
        let mut files = Vec::new();
        if self.request.realisations {
            files.extend(exporter.tables(&realisations)?);
        }
        if self.request.statistics && realisations.len() > 1 {
            files.extend(exporter.statistics(&realisations)?);
        }
        if let Some(pictures) = &self.request.pictures {
            for &i in &self.request.modalities {
                files.extend(exporter.pictures(pictures, i, &realisations)?);
            }
        }
        if let Some(table) = &self.request.inspected {
            files.push(exporter.inspected(table)?);
        }
        if self.request.stac {
            let all: Vec<PathBuf> = self.written.iter().chain(&self.ready).chain(&files).cloned().collect();
            files.push(exporter.stac_item(&all)?);
        }
        Ok(files)
    }

    fn exporter<'a>(&'a self, dir: &Path) -> Exporter<'a> {
        Exporter::new(dir, &self.lineage, &self.request)
    }

    fn place_of(&self, file: &Path) -> PathBuf {
        self.request.dir.join(file.file_name().unwrap_or_default())
    }

    /// An error as the user meets it: about files where they were to appear.
    fn seen(&self, error: Error) -> Error {
        error.moved(self.hidden.path(), &self.request.dir)
    }
}

/// All files of realisations with these numbers, where they appear.
fn files(request: &ExportRequest, lineage: &Lineage, indices: &[u64]) -> Vec<PathBuf> {
    let exporter = Exporter::new(&request.dir, lineage, request);
    let Some(range) = range(indices) else { return Vec::new() };
    let mut paths = Vec::new();
    for &i in &request.modalities {
        let m = &lineage.table[i];
        match (m.is_scalar(), request.realisations) {
            (true, true) => paths.push(exporter.table_path(range, m)),
            (false, true) => {
                paths.extend(indices.iter().flat_map(|&index| exporter.realisation_paths(index, m)));
                let kept = indices.iter().filter(|_| lineage.kept.contains(&i));
                paths.extend(kept.map(|&index| exporter.kept_path(index, m)));
            }
            (_, false) => {}
        }
        if !m.is_scalar() && request.statistics && indices.len() > 1 {
            paths.extend(exporter.statistic_paths(range, m).into_iter().flatten());
        }
        if let Some(pictures) = &request.pictures {
            paths.extend(exporter.picture_paths(pictures, i, indices));
        }
    }
    paths.extend(request.inspected.is_some().then(|| exporter.inspected_path()));
    paths.extend(request.stac.then(|| exporter.stac_path()));
    paths
}

/// Moves finished files to where they belong: all of them, or none. What they replace waits in the hidden folder, and
/// is put back if one of them cannot be moved.
fn move_all(files: &[PathBuf], targets: &[PathBuf], hidden: &Path) -> Result<()> {
    let replaced = tempfile::tempdir_in(hidden).map_err(|e| Error::io(hidden, "write to", &e))?;
    let mut moves: Vec<(PathBuf, PathBuf)> = Vec::new();
    for (file, target) in files.iter().zip(targets) {
        let mut rename = |from: &Path, to: &Path| {
            std::fs::rename(from, to).map(|()| moves.push((from.to_path_buf(), to.to_path_buf())))
        };
        let old = replaced.path().join(target.file_name().unwrap_or_default());
        let moved = if target.exists() { rename(target, &old) } else { Ok(()) };
        if let Err(e) = moved.and_then(|()| rename(file, target)) {
            for (from, to) in moves.iter().rev() {
                // They came from there a moment ago.
                let _ = std::fs::rename(to, from);
            }
            return Err(Error::io(target, "write", &e));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_all_be_moved_stay_where_they_were() {
        let dir = tempfile::tempdir().expect("folder");
        let (hidden, to) = (dir.path().join("hidden"), dir.path().join("to"));
        for folder in [&hidden, &to] {
            std::fs::create_dir(folder).expect("folder");
        }
        let names = ["new", "replaced", "impossible"];
        let file = |folder: &Path, name: &str| folder.join(name);
        let read = |path: PathBuf| std::fs::read_to_string(path).expect("file");
        names.iter().for_each(|name| std::fs::write(file(&hidden, name), name).expect("file"));
        std::fs::write(file(&to, "replaced"), "of the user's").expect("file");
        let files = names.map(|name| file(&hidden, name));
        let mut targets = names.map(|name| file(&to, name));
        targets[2] = to.join("nowhere/impossible");
        let error = move_all(&files, &targets, &hidden).expect_err("no folder");
        assert!(error.to_string().contains("nowhere"), "{error}");
        assert_eq!(names.map(|name| read(file(&hidden, name))), names);
        assert!(!file(&to, "new").exists() && read(file(&to, "replaced")) == "of the user's");
        targets[2] = file(&to, "impossible");
        move_all(&files, &targets, &hidden).expect("moved");
        assert_eq!(names.map(|name| read(file(&to, name))), names);
        assert_eq!(std::fs::read_dir(&hidden).expect("folder").count(), 0);
    }
}
