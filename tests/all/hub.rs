//! Models from elsewhere: downloads over a network as bad as real ones, installed folders, the command line.

use crate::common::mirror::{GO_ON, Mirror, TINY, fetch, fetch_with, hashes, network, network_with, on, tiny};
use crate::common::server::Fault;
use crate::common::{COMPLETE, failure, files, project, scene, success};
use copgen::Error;
use copgen::hub::{InstallRequest, Library, Progress, Source, State, install};
use copgen::model::{Engine, Manifest, Model, sha256_of};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn a_model_is_fetched_used_checked_completed_and_removed() {
    let dir = tempfile::tempdir().expect("folder");
    let mirror = Mirror::published(dir.path());
    let models = dir.path().join("models");
    let listed = success(mirror.command(&models).args(["models", "list"]));
    assert!(listed.contains("cop-gen ") && listed.contains("not here") && listed.contains("4.5 GB"), "{listed}");
    let run = |out: &str, given: &str| {
        let mut command = mirror.command(&models);
        command.args([
            "generate",
            "--model",
            "cop-gen",
            "--samples",
            "1",
            "--steps",
            "2",
            "--device",
            "cpu",
            "--given",
            given,
        ]);
        command.arg("--scene").arg(scene(COMPLETE)).arg("--out").arg(dir.path().join(out));
        command
    };
    assert!(failure(&mut run("none", "DEM"), 2).contains("copgen models download cop-gen"));

    // Some autoencoders first.
    let printed = success(mirror.command(&models).args(["models", "download", "cop-gen", "--modalities", "DEM,S2L2A"]));
    assert!(printed.contains("without the autoencoders of S1RTC"), "{printed}");
    let listed = success(mirror.command(&models).args(["models", "list"]));
    assert!(listed.contains("installed without S1RTC, S2L1C_10m"), "{listed}");
    success(&mut run("part", "DEM"));
    let made = files(&dir.path().join("part"));
    assert!(made.iter().any(|name| name.ends_with("S2L2A_10m.tif")), "{made:?}");
    assert!(!made.iter().any(|name| name.contains("S2L1C")), "what cannot be decoded is not asked for: {made:?}");
    let told = failure(&mut run("more", "DEM,LULC"), 2);
    assert!(told.contains("LULC") && told.contains("copgen models download cop-gen --modalities LULC"), "{told}");
    assert!(files(&dir.path().join("more")).is_empty());

    // The rest later: nothing comes twice.
    let before = mirror.sent("500000_nnet_ema.pth");
    success(mirror.command(&models).args(["models", "download", "cop-gen"]));
    assert_eq!(mirror.sent("500000_nnet_ema.pth"), before);
    success(&mut run("whole", "DEM,LULC"));
    let library = Library::at(models.clone()).expect("library");
    let listed = library.list().into_iter().find(|listed| listed.id == "cop-gen").expect("listed");
    assert_eq!((listed.state.clone(), listed.missing_bytes()), (State::Installed, 0));
    let manifest = Manifest::open(&listed.dir).expect("manifest");
    let origin = manifest.origin.expect("origin");
    let own = &origin.published[Path::new("denoiser.safetensors")];
    assert_eq!(own.sha256, sha256_of(&dir.path().join("500000_nnet_ema.pth")).expect("hash"));
    assert!(
        files(&listed.dir)
            .iter()
            .all(|name| name.ends_with("safetensors") || ["manifest.json", "lock"].contains(&name.as_str()))
    );

    // A byte that changes is found.
    success(mirror.command(&models).args(["models", "verify", "cop-gen"]));
    let file = listed.dir.join("autoencoder_LULC.safetensors");
    let mut bytes = std::fs::read(&file).expect("read");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).expect("write");
    let output = mirror.command(&models).args(["models", "verify"]).output().expect("run");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("autoencoder_LULC.safetensors") && printed.contains("damaged"), "{printed}");

    // What the user put there stays.
    std::fs::write(listed.dir.join("notes.txt"), "mine").expect("write");
    assert!(failure(mirror.command(&models).args(["models", "remove", "cop-gen"]), 2).contains("--yes"));
    assert!(failure(mirror.command(&models).args(["models", "remove", "demo", "--yes"]), 2).contains("comes with"));
    assert!(
        failure(mirror.command(&models).args(["models", "remove", "../models", "--yes"]), 2).contains("no installed")
    );
    success(mirror.command(&models).args(["models", "remove", "cop-gen", "--yes"]));
    assert_eq!(files(&listed.dir), ["notes.txt"]);
}

#[test]
fn whatever_a_server_does_nothing_wrong_is_installed() {
    let dir = tempfile::tempdir().expect("folder");
    let (models, published, mirror) = tiny(dir.path());
    let length = std::fs::metadata(published.join("shared.pth")).expect("file").len();
    let whole = {
        let library = Library::at(models.clone()).expect("library");
        let wish = InstallRequest { id: "tiny".into(), ..InstallRequest::default() };
        install(&library, &wish, &Source::Folder(&published), &GO_ON, &mut |_| {}).expect("import");
        let whole = hashes(&models.join("tiny"));
        copgen::hub::remove(&library, "tiny").expect("removed");
        whole
    };
    // More breaks than tries, each after some progress.
    mirror.storage.fail("/some/where/shared.pth", Fault::BreakAfter(200_000), 4);
    mirror.storage.fail("/some/where/shared.pth", Fault::Status(503), 1);
    mirror.storage.fail("/some/where/shared.pth", Fault::Silent, 1);
    let hasty = network_with(Duration::from_secs(2));
    fetch_with(&models, &mirror, &hasty, &GO_ON, &mut |_| {}).expect("resumed");
    assert_eq!(hashes(&models.join("tiny")), whole);
    let ranges: Vec<_> = mirror.storage.seen().iter().filter_map(|seen| seen.headers.get("range").cloned()).collect();
    assert!(ranges.contains(&"bytes=200000-".to_owned()) && ranges.contains(&"bytes=400000-".to_owned()), "{ranges:?}");
    assert!(mirror.storage.sent("/some/where/shared.pth") <= length + 4 * 262_144, "what is here is not sent again");

    let library = Library::at(models.clone()).expect("library");
    let again = |fault: Fault, times: usize| {
        copgen::hub::remove(&library, "tiny").expect("removed");
        mirror.storage.heal();
        mirror.storage.fail("/some/where/shared.pth", fault, times);
        fetch(&models, &mirror)
    };
    // A server that cannot skip sends all of it, and that is not appended.
    mirror.storage.fail("/some/where/shared.pth", Fault::BreakAfter(300_000), 1);
    copgen::hub::remove(&library, "tiny").expect("removed");
    mirror.storage.fail("/some/where/shared.pth", Fault::IgnoreRange, 1);
    fetch(&models, &mirror).expect("from the start");
    assert_eq!(hashes(&models.join("tiny")), whole);

    // Answers that end early as if they were whole are gone on from, as long as they bring something.
    again(Fault::Untold(400_000), 9).expect("in parts");
    assert_eq!(hashes(&models.join("tiny")), whole);

    for (fault, times, message) in [
        (Fault::Untold(0), 99, "end before all of it"),
        (Fault::WrongBytes, 1, "its sha256 is"),
        (Fault::LieAboutLength(7), 9, "another length"),
        (Fault::Status(403), 9, "HF_TOKEN"),
        (Fault::Status(404), 9, "nothing at this address"),
        (Fault::RedirectLoop, 99, "without end"),
        (Fault::BreakAfter(0), 99, "broke off"),
    ] {
        let error = again(fault.clone(), times).expect_err(message).to_string();
        assert!(error.contains(message) && !error.contains("signature"), "{fault:?}: {error}");
        let left = files(&models.join("tiny/download"));
        assert!(fault != Fault::WrongBytes || left.is_empty(), "what is wrong is deleted: {left:?}");
        assert!(!models.join("tiny/manifest.json").exists(), "{fault:?}");
        mirror.storage.heal();
        fetch(&models, &mirror).expect("healed");
        assert_eq!(hashes(&models.join("tiny")), whole, "{fault:?}");
    }

    // Another file at the same address: the part of the old one is not continued.
    copgen::hub::remove(&library, "tiny").expect("removed");
    mirror.storage.fail("/some/where/shared.pth", Fault::BreakAfter(100_000), 1);
    mirror.storage.fail("/some/where/shared.pth", Fault::Status(404), 9);
    fetch(&models, &mirror).expect_err("interrupted");
    assert!(models.join("tiny/download/autoencoder.pth.part").exists());
    mirror.storage.heal();
    let other = dir.path().join("other.pth");
    let mut bytes = std::fs::read(published.join("shared.pth")).expect("read");
    let at = bytes.windows(9).position(|w| w == b"archive/d").map_or(500, |_| 900_000);
    bytes[at] ^= 1;
    std::fs::write(&other, &bytes).expect("write");
    mirror.put("some/where", "shared.pth", &other);
    let asked = mirror.storage.seen().len();
    // One bit of a weight differs, or the container's own checksum no longer fits: both are about the new file.
    let done = fetch(&models, &mirror);
    let resumed = mirror.storage.seen()[asked..].iter().any(|seen| seen.headers.contains_key("range"));
    assert!(!resumed, "begun anew");
    if let Err(error) = done {
        assert!(error.to_string().contains("autoencoder.pth"), "{error}");
    }
}

#[test]
fn removing_takes_all_of_the_model_and_nothing_else() {
    let dir = tempfile::tempdir().expect("folder");
    let (models, published, mirror) = tiny(dir.path());
    let library = Library::at(models.clone()).expect("library");
    let wish = InstallRequest { id: "tiny".into(), ..InstallRequest::default() };
    install(&library, &wish, &Source::Folder(&published), &GO_ON, &mut |_| {}).expect("import");
    let folder = models.join("tiny");
    let text = std::fs::read(folder.join("manifest.json")).expect("manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&text).expect("manifest");
    // A record that names files elsewhere, and a manifest that names none.
    let (near, far) = (models.join("mine.safetensors"), dir.path().join("mine.safetensors"));
    let autoencoder = |file: &str| {
        let mut entry = manifest["autoencoders"]["before"].clone();
        assert!(entry["weights"]["file"].is_string(), "{entry}");
        entry["weights"]["file"] = file.into();
        entry
    };
    let record = serde_json::json!({
        "half": false, "wanted": null, "table": null, "denoiser": null, "published": {},
        "autoencoders": { "before": autoencoder("../mine.safetensors"), "after": autoencoder(&far.to_string_lossy()) },
    });
    std::fs::write(folder.join("installing.json"), record.to_string()).expect("written");
    std::fs::write(folder.join("manifest.json"), "{").expect("written");
    [&near, &far].into_iter().for_each(|path| std::fs::write(path, "mine").expect("written"));
    let listed = library.list().into_iter().find(|listed| listed.id == "tiny").expect("listed");
    assert!(listed.unfinished.is_some() && matches!(listed.state, State::Broken(_)), "{listed:?}");
    // A check of all models goes on after one that cannot be read, and tells of it.
    let output = mirror.command(&models).args(["models", "verify"]).output().expect("run");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("manifest.json"), "{printed}");
    assert!(printed.contains("as installed"), "the bundled ones are checked: {printed}");
    copgen::hub::remove(&library, "tiny").expect("removed");
    assert!(near.exists() && far.exists() && !folder.exists(), "{:?}", files(&models));
}

#[test]
fn a_folder_with_a_broken_manifest_is_listed_with_the_reason_and_can_be_removed() {
    let dir = tempfile::tempdir().expect("folder");
    let models = dir.path().join("models");
    let folder = models.join("trained here (2)");
    std::fs::create_dir_all(&folder).expect("folder");
    for (name, text) in [("manifest.json", "{\"name\": 1"), ("denoiser.safetensors", "half"), ("notes.txt", "mine")] {
        std::fs::write(folder.join(name), text).expect("written");
    }
    let printed = success(on(&models).args(["models", "list"]));
    let line = printed.lines().find(|line| line.starts_with("trained here (2)")).expect("listed");
    assert!(line.contains("cannot be read: This is not a model manifest"), "{line}");
    assert!(printed.contains("copgen models remove trained here (2)"), "{printed}");
    let listed = Library::at(models.clone()).expect("library").list();
    let own = listed.iter().find(|listed| listed.id == "trained here (2)").expect("listed");
    assert!(matches!(own.state, State::Broken(_)) && own.removable && !own.usable(), "{own:?}");
    success(on(&models).args(["models", "remove", "trained here (2)", "--yes"]));
    assert_eq!(files(&folder), ["notes.txt"], "what this program did not put there stays");
    // The same of a cascade, whose manifest can be read and names all of its files.
    let bundled = Manifest::open(&project("models/demo")).expect("manifest");
    for file in bundled.files().into_keys().chain([Path::new("manifest.json")]) {
        std::fs::copy(project("models/demo").join(file), folder.join(file)).expect("copy");
    }
    success(on(&models).args(["models", "remove", "trained here (2)", "--yes"]));
    assert_eq!(files(&folder), ["notes.txt"]);
    // And of a model as the first version made them: it is told that this one does not compute them.
    let mut former = serde_json::to_value(&bundled).expect("manifest");
    former["field"] = serde_json::json!({ "file": "field.safetensors", "sha256": "" });
    for (name, text) in [("manifest.json", former.to_string().as_str()), ("field.safetensors", "half")] {
        std::fs::write(folder.join(name), text).expect("written");
    }
    let printed = success(on(&models).args(["models", "list"]));
    assert!(printed.contains("a kind that only version 0.1.0 computes"), "{printed}");
    success(on(&models).args(["models", "remove", "trained here (2)", "--yes"]));
    assert_eq!(files(&folder), ["notes.txt"]);
    assert!(!success(on(&models).args(["models", "list"])).contains("trained here"));
    for name in ["..", ".", "a/b", ""] {
        assert!(
            failure(on(&models).args(["models", "remove", name, "--yes"]), 2).contains("no installed model"),
            "{name}"
        );
    }
}

#[test]
fn what_an_installation_leaves_is_said_and_of_one_that_never_began_nothing_stays() {
    let dir = tempfile::tempdir().expect("folder");
    let (models, published, mirror) = tiny(dir.path());
    let nothing = dir.path().join("nothing");
    std::fs::create_dir_all(&nothing).expect("folder");
    failure(on(&models).args(["models", "import", "tiny", "--from"]).arg(&nothing), 1);
    assert_eq!(files(&models), ["catalog.toml"]);
    // The denoiser is converted before the autoencoder turns out to be damaged.
    let shared = published.join("shared.pth");
    let length = std::fs::metadata(&shared).expect("file").len();
    let damaged = std::fs::OpenOptions::new().write(true).open(&shared).expect("file");
    damaged.set_len(length / 2).expect("cut");
    let told = failure(on(&models).args(["models", "import", "tiny", "--from"]).arg(&published), 1);
    assert!(told.contains("What has arrived is kept in") && told.contains("shared.pth"), "{told}");
    assert!(files(&models.join("tiny")).contains(&"denoiser.safetensors".to_owned()));
    drop(mirror);
}

#[test]
fn a_file_of_another_length_is_fetched_again() {
    let dir = tempfile::tempdir().expect("folder");
    let (models, published, mirror) = tiny(dir.path());
    // A hub that tells no hash.
    let shared = published.join("shared.pth");
    let bytes = std::fs::metadata(&shared).expect("file").len();
    mirror.put_as("some/where", "shared.pth", &shared, "v1", bytes);
    let target = models.join("tiny/download/autoencoder.pth");
    std::fs::create_dir_all(target.parent().expect("folder")).expect("folder");
    std::fs::write(&target, "an older one").expect("written");
    fetch(&models, &mirror).expect("fetched");
    assert_eq!(mirror.storage.sent("/some/where/shared.pth"), bytes);
}

#[test]
fn a_disk_that_is_too_small_and_a_hash_that_is_not_the_announced_one() {
    let dir = tempfile::tempdir().expect("folder");
    let (models, published, mirror) = tiny(dir.path());
    let path = published.join("shared.pth");
    mirror.put_as("some/where", "shared.pth", &path, &"0".repeat(64), 1_000_000_000_000_000_000);
    let error = fetch(&models, &mirror).expect_err("no room").to_string();
    assert!(error.contains("on this disk") && error.contains("COPGEN_MODELS"), "{error}");
    assert_eq!(mirror.storage.seen().len(), 0, "nothing was fetched");
    mirror.put_as("some/where", "shared.pth", &path, &"0".repeat(64), std::fs::metadata(&path).expect("file").len());
    let error = fetch(&models, &mirror).expect_err("wrong hash").to_string();
    assert!(error.contains("deleted") && error.contains("sha256"), "{error}");
    // The catalogue may know the hash beforehand; then a server that has another file is not even asked for it.
    let text =
        TINY.replace("file = \"shared.pth\"", &format!("file = \"shared.pth\"\nsha256 = \"{}\"", "1".repeat(64)));
    std::fs::write(models.join("catalog.toml"), text).expect("write");
    let error = fetch(&models, &mirror).expect_err("another file").to_string();
    assert!(error.contains("than the catalogue means"), "{error}");
    std::fs::write(models.join("catalog.toml"), "model = 1").expect("write");
    let told = failure(mirror.command(&models).args(["models", "list"]), 1);
    assert!(told.contains("no catalogue of models") && told.contains("catalog.toml"), "{told}");
}

#[test]
fn stopping_keeps_what_has_arrived_and_two_do_not_fetch_the_same() {
    let dir = tempfile::tempdir().expect("folder");
    let (models, _, mirror) = tiny(dir.path());
    // Some 20 s for all of it.
    mirror.storage.fail("/some/where/shared.pth", Fault::Slow(1_000, Duration::from_millis(20)), 1);
    let stop = AtomicBool::new(false);
    let mut last = Progress::default();
    let mut stopped = false;
    let mut busy = None;
    let done = fetch_with(&models, &mirror, &network(), &stop, &mut |progress| {
        if progress.what.contains("downloading the autoencoder") && progress.bytes_per_s > 0.0 && busy.is_none() {
            busy = Some(failure(mirror.command(&models).args(["models", "download", "tiny"]), 1));
        } else if busy.is_some() && !stopped {
            stop.store(true, Ordering::Relaxed);
            stopped = true;
        }
        last = progress.clone();
    });
    assert!(matches!(done, Err(Error::Cancelled)), "{done:?}");
    assert!(busy.expect("tried").contains("already"));
    assert!(last.total > 1_000_000 && last.done < last.total && last.left.is_some(), "{last:?}");
    let part = std::fs::metadata(models.join("tiny/download/autoencoder.pth.part")).expect("part").len();
    assert!(part > 0);
    let listed = Library::at(models.clone()).expect("library").list();
    let own = listed.iter().find(|listed| listed.id == "tiny").expect("listed");
    assert_eq!(own.state, State::Begun);
    assert!(own.unfinished.is_some(), "without a wish to stop, it goes on at the next start");
    fetch(&models, &mirror).expect("goes on");
    let ranges: Vec<_> = mirror.storage.seen().iter().filter_map(|seen| seen.headers.get("range").cloned()).collect();
    assert_eq!(ranges, [format!("bytes={part}-")]);
}

#[test]
fn killed_at_any_moment_it_goes_on_to_the_right_model() {
    let dir = tempfile::tempdir().expect("folder");
    let mirror = Mirror::published(dir.path());
    let (models, other) = (dir.path().join("models"), dir.path().join("other"));
    let chosen = ["--modalities", "DEM,LULC"];
    let mut import = on(&other);
    success(import.args(["models", "import", "cop-gen", "--from"]).arg(dir.path()).args(chosen));
    let whole = hashes(&other.join("cop-gen"));

    mirror.storage.fail("/", Fault::Slow(16_000, Duration::from_millis(4)), 1000);
    let mut state = 20_260_731_u64;
    let mut killed = 0;
    for _ in 0..20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_copgen"));
        process.args(["models", "download", "cop-gen"]).args(chosen);
        process
            .env("COPGEN_MODELS", &models)
            .env("HF_ENDPOINT", &mirror.hub.url)
            .env("HF_HOME", dir.path().join("none"));
        for name in ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "COPGEN_OFFLINE"] {
            process.env_remove(name);
        }
        process.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = process.spawn().expect("the program starts");
        std::thread::sleep(Duration::from_millis(20 + (state >> 33) % 180));
        child.kill().expect("killed");
        killed += u32::from(!child.wait().expect("ended").success());
        // Never half a model.
        if models.join("cop-gen/manifest.json").exists() {
            assert_eq!(hashes(&models.join("cop-gen")), whole);
        }
    }
    assert!(killed > 5, "only {killed} were killed before they were done");
    mirror.storage.heal();
    success(mirror.command(&models).args(["models", "download", "cop-gen"]).args(chosen));
    assert_eq!(hashes(&models.join("cop-gen")), whole);
    Model::open(&models.join("cop-gen"), &Engine::cpu()).expect("a model");
    let length = |file: &str| std::fs::metadata(dir.path().join(file)).expect("file").len();
    let once = length("500000_nnet_ema.pth") + 2 * length("vae/DEM_64x64_DEM_latent_8/model-50-ema.pth");
    let sent = mirror.sent("500000_nnet_ema.pth")
        + mirror.sent("DEM_64x64_DEM_latent_8/model-50-ema.pth")
        + mirror.sent("LULC_192x192_LULC_latent_8/model-50-ema.pth");
    assert!(sent < 3 * once, "{sent} bytes were sent for {once}");
}

#[cfg(unix)]
#[test]
fn the_cache_of_this_machine_is_used_where_its_hash_is_right() {
    let dir = tempfile::tempdir().expect("folder");
    let (models, published, mirror) = tiny(dir.path());
    let home = dir.path().join("hugging");
    let repository = home.join("hub/models--some--where");
    let snapshot = repository.join("snapshots/0123abc");
    for folder in [repository.join("refs"), repository.join("blobs"), snapshot.clone()] {
        std::fs::create_dir_all(folder).expect("folder");
    }
    std::fs::write(repository.join("refs/main"), "0123abc").expect("write");
    for file in ["denoiser.pth", "shared.pth"] {
        let hash = sha256_of(&published.join(file)).expect("hash");
        std::fs::copy(published.join(file), repository.join("blobs").join(&hash)).expect("copy");
        std::os::unix::fs::symlink(format!("../../blobs/{hash}"), snapshot.join(file)).expect("link");
    }
    let command = |name: &str, value: &str| {
        let mut command = mirror.command(&models);
        command.env("HF_HOME", &home).env(name, value).args(["models", "download", "tiny"]);
        command
    };
    success(&mut command("HF_HUB_OFFLINE", "1"));
    assert!(mirror.hub.seen().is_empty() && mirror.storage.seen().is_empty(), "nothing was asked for");
    assert!(snapshot.join("shared.pth").exists(), "the cache stays as it was");
    let whole = hashes(&models.join("tiny"));
    let forget = || drop(success(on(&models).args(["models", "remove", "tiny", "--yes"])));
    // With a network, the server says what the file is, and the key is shown to the hub alone.
    forget();
    let printed = success(&mut command("HF_TOKEN", "hf_secret"));
    assert!(!printed.contains("hf_secret"));
    assert_eq!(mirror.storage.seen().len(), 0);
    assert!(mirror.hub.seen().iter().all(|seen| seen.headers["authorization"] == "Bearer hf_secret"));
    assert_eq!(hashes(&models.join("tiny")), whole);
    // A damaged file in the cache is fetched anew, and never used without a network.
    let blob = snapshot.join("shared.pth").canonicalize().expect("blob");
    let mut bytes = std::fs::read(&blob).expect("read");
    bytes[5000] ^= 1;
    std::fs::write(&blob, bytes).expect("write");
    forget();
    assert!(failure(&mut command("HF_HUB_OFFLINE", "1"), 1).contains("damaged"));
    forget();
    success(&mut command("HF_TOKEN", "hf_secret"));
    assert_eq!(hashes(&models.join("tiny")), whole);
    assert!(mirror.storage.seen().iter().all(|seen| !seen.headers.contains_key("authorization")));
    // Without a cache there is nothing to use.
    forget();
    let mut bare = mirror.command(&models);
    let told = failure(bare.env("HF_HUB_OFFLINE", "1").args(["models", "download", "tiny"]), 2);
    assert!(told.contains("HF_HUB_OFFLINE"), "{told}");
    let mut off = mirror.command(&models);
    assert!(failure(off.env("COPGEN_OFFLINE", "1").args(["models", "download", "tiny"]), 1).contains("offline"));
}

#[test]
fn published_files_are_found_in_whatever_folder() {
    let dir = tempfile::tempdir().expect("folder");
    let (models, published, _) = tiny(dir.path());
    let import = |from: &Path| {
        let mut command = on(&models);
        command.args(["models", "import", "tiny", "--from"]).arg(from);
        command
    };
    let deep = dir.path().join("a/b");
    std::fs::create_dir_all(deep.join("c")).expect("folder");
    assert!(failure(&mut import(&deep), 1).contains("denoiser.pth"));
    std::fs::copy(published.join("denoiser.pth"), deep.join("c/denoiser.pth")).expect("copy");
    assert!(success(&mut import(&deep)).contains("without the autoencoders of DEM, S2L2A"));
    std::fs::copy(published.join("shared.pth"), deep.join("shared.pth")).expect("copy");
    std::fs::copy(published.join("shared.pth"), deep.join("c/shared.pth")).expect("copy");
    assert!(failure(&mut import(&deep), 1).contains("may be meant"));
    std::fs::remove_file(deep.join("c/shared.pth")).expect("remove");
    success(&mut import(&deep));
    let told = failure(on(&models).args(["models", "download", "other"]), 2);
    assert!(told.contains("Known: demo, cop-gen, cop-gen-beta, tiny"), "{told}");
    let half = failure(import(&deep).arg("--half"), 2);
    assert!(half.contains("single precision"), "{half}");
}
