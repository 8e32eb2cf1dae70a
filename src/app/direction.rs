//! Which way imports run within the window: read from the code itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Rooms of the window, and what each may know of the others.
const MAY_KNOW: [(&str, &[&str]); 9] = [
    ("kit", &[]),
    ("state", &[]),
    ("work", &["state"]),
    ("view", &["work", "state"]),
    ("command", &["view", "state"]),
    ("map", &["command", "view", "work", "state", "kit"]),
    ("panels", &["command", "view", "work", "state", "kit"]),
    ("dialogs", &["command", "view", "work", "state", "kit"]),
    ("window", &["dialogs", "panels", "map", "command", "view", "work", "state", "kit"]),
];

/// What a file names of the window, each as a room and the module in it: `state::runs`.
fn named(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for part in code.split("crate::app::").skip(1) {
        expand("", part, &mut found);
    }
    found
}

/// Adds what a path names, by its first two parts; a group in braces names several.
fn expand(before: &str, path: &str, found: &mut BTreeSet<String>) {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(path.len());
    let whole = format!("{before}{}", &path[..end]);
    let Some(group) = path[end..].strip_prefix('{').filter(|_| path[..end].ends_with("::") || end == 0) else {
        let parts: Vec<&str> = whole.split("::").filter(|part| !part.is_empty()).take(2).collect();
        found.insert(parts.join("::"));
        return;
    };
    let (mut depth, mut item) = (0, String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&whole, item.trim(), found);
                item.clear();
                continue;
            }
            _ => {}
        }
        item.push(c);
    }
    if !item.trim().is_empty() {
        expand(&whole, item.trim(), found);
    }
}

/// Imports of a file that its room must not have; `file` is its path below the window's folder.
fn wrong(file: &str, text: &str) -> Vec<String> {
    let room = file.split(['/', '.']).next().unwrap_or_default();
    let Some((_, known)) = MAY_KNOW.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{file} is in no room of the window")];
    };
    let mut wrong: Vec<String> = named(text)
        .into_iter()
        .filter(|path| {
            let other = path.split("::").next().unwrap_or_default();
            other != room && !known.contains(&other)
        })
        .map(|path| format!("{file} imports {path}"))
        .collect();
    if text.contains("super::super") {
        wrong.push(format!("{file} imports by way of super::super; name the path from the crate on"));
    }
    wrong
}

/// Files that import each other in a circle, by what each file imports.
fn circle(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut left: BTreeMap<&String, BTreeSet<&String>> =
        imports.iter().map(|(file, others)| (file, others.iter().filter(|o| *o != file).collect())).collect();
    // Files that import nothing of what is left, and files that nothing left imports, are in no circle.
    loop {
        let before = left.len();
        let there: BTreeSet<&String> = left.keys().copied().collect();
        let imported: BTreeSet<&String> = left.values().flatten().copied().collect();
        left.retain(|file, others| {
            others.retain(|other| there.contains(other));
            !others.is_empty() && imported.contains(file)
        });
        if left.len() == before {
            return left.into_keys().cloned().collect();
        }
    }
}

/// All files of the window but those that only name others, by path.
fn files() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/app");
    let (mut folders, mut found) = (vec![root.clone()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            let name = path.strip_prefix(&root).expect("below").to_string_lossy().replace('\\', "/");
            match path.is_dir() {
                true => folders.push(path),
                false if name.ends_with("mod.rs") || name == "direction.rs" => {}
                false => drop(found.insert(name, std::fs::read_to_string(&path).expect("text"))),
            }
        }
    }
    found
}

#[test]
fn imports_run_one_way_and_in_no_circle() {
    let files = files();
    assert!(files.len() > 50, "only {} files were found", files.len());
    let wrong: Vec<String> = files.iter().flat_map(|(file, text)| wrong(file, text)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let module = |file: &str| file.trim_end_matches(".rs").replace('/', "::");
    let imports = files.iter().map(|(file, text)| (module(file), named(text))).collect();
    assert_eq!(circle(&imports), Vec::<String>::new());
}

#[test]
fn what_is_named_is_read_from_paths_and_groups() {
    let text = "use crate::app::state::{runs::{Run, Runs}, session::Session,};\nuse crate::app::{view::shown::Shown, kit};\n\
        fn f() -> crate::app::map::a::A { crate::app::command::f() }";
    let expected = ["command::f", "kit", "map::a", "state::runs", "state::session", "view::shown"];
    assert_eq!(named(text).into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn an_import_that_runs_back_is_found() {
    let right = "use crate::app::state::runs::Run;\n// See crate::app::window::apply.\nuse crate::error::Result;";
    assert!(wrong("work/restore.rs", right).is_empty());
    for back in [
        "use crate::app::window::explorer::ExplorerWindow;",
        "use crate::app::{state::runs::{Run, Runs}, window::explorer::ExplorerWindow};",
        "fn f() { crate::app::window::apply::f() }",
        "    use crate::app::ExplorerWindow;",
        "use super::super::window::explorer::ExplorerWindow;",
    ] {
        assert_eq!(wrong("work/restore.rs", &format!("{right}\n{back}")).len(), 1, "{back}");
    }
    assert_eq!(wrong("panels/gallery.rs", "use crate::app::dialogs::export::ExportForm;").len(), 1);
    assert_eq!(wrong("kit/theme.rs", "use crate::app::state::runs::Run;").len(), 1);
    assert_eq!(wrong("elsewhere.rs", "").len(), 1);
}

#[test]
fn a_circle_is_found() {
    let imports = |all: &[(&str, &str)]| -> BTreeMap<String, BTreeSet<String>> {
        let mut map: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (file, text) in all {
            map.insert((*file).into(), named(text));
        }
        map
    };
    let a = ("map::a", "use crate::app::map::b::B;");
    let b = ("map::b", "use crate::app::map::c::C;\nuse crate::app::map::b::B;");
    assert!(circle(&imports(&[a, b, ("map::c", "")])).is_empty());
    let back = ("map::c", "use crate::app::map::{a::A};");
    let outside = ("map::d", "use crate::app::map::a::A;");
    assert_eq!(circle(&imports(&[a, b, back, outside])), ["map::a", "map::b", "map::c"]);
}
