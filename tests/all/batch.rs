//! Batches: plans into stores, by workers that may be killed, decline or meet each other, and the catalogue in the end.

use crate::common::catalogue::{CELL, Catalogue};
use crate::common::{COMPLETE, copgen, copy_scene, failure, files, generate, scene, success};
use crate::sources::program;
use assert_cmd::Command;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// What the jobs of a plan ask for if they say nothing else.
const QUICK: [&str; 9] =
    ["--", "--given", "DEM,LULC,S1RTC", "--generate", "S2L2A_60m,S2L2A_10m", "--samples", "1", "--steps", "2"];

/// A folder with a plan in it.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new(plan: &str) -> Self {
        let desk = Self { dir: tempfile::tempdir().expect("folder") };
        std::fs::write(desk.path("plan.csv"), plan).expect("plan");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn batch(&self, store: &str, more: &[&str]) -> Command {
        let mut command = copgen();
        // The moment that files are said to be made at.
        command.env("SOURCE_DATE_EPOCH", "1700000000");
        command.arg("batch").arg(self.path("plan.csv")).arg("--out").arg(self.path(store));
        command.args(["--device", "cpu"]).args(more).args(QUICK);
        command
    }

    fn status(&self, store: &str) -> Value {
        let text = success(copgen().args(["batch", "status", "--json"]).arg(self.path(store)));
        serde_json::from_str(&text).expect("a report")
    }

    /// All files of all jobs.
    fn bytes(&self, store: &str) -> Vec<(String, Vec<u8>)> {
        let jobs = self.path(store).join("jobs");
        let names = files(&jobs);
        let all =
            names.iter().flat_map(|job| files(&jobs.join(job)).into_iter().map(move |name| format!("{job}/{name}")));
        all.map(|name| (name.clone(), std::fs::read(jobs.join(&name)).expect("file"))).collect()
    }
}

/// Rows of windows of the complete scene.
fn windows(count: usize) -> String {
    let row = |i: usize| format!("job{i},{},\"{},0\",{i}\n", scene(COMPLETE).display(), 60 * i);
    format!("name,scene,extent,seed\n{}", (0..count).map(row).collect::<String>())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// A row of a table as JSON.
fn json_of(row: &Row) -> Value {
    row.get_column_iter().map(|(name, field)| (name.clone(), field_of(field))).collect()
}

fn field_of(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Str(text) => text.as_str().into(),
        Field::Long(number) => (*number).into(),
        Field::Double(number) => (*number).into(),
        Field::Group(row) => json_of(row),
        Field::ListInternal(list) => list.elements().iter().map(field_of).collect(),
        other => other.to_string().into(),
    }
}

fn statuses(text: &str) -> Vec<String> {
    lines(text).iter().map(|line| line["status"].as_str().expect("status").to_owned()).collect()
}

#[test]
fn each_job_is_what_generate_writes_and_is_done_once_and_again_if_it_is_not_whole() {
    let desk = Desk::new(&windows(2));
    let told = lines(&success(&mut desk.batch("store", &[])));
    assert_eq!(told.len(), 2);
    for line in &told {
        assert_eq!((line["status"].as_str(), line["evaluations"].as_u64()), (Some("done"), Some(2)), "{line}");
        assert!(line["seconds"].as_f64().is_some_and(|s| s > 0.0) && line["row"].is_u64(), "{line}");
    }
    let alone = ["--window", "60,0", "--seed", "1", "--stac", "--device", "cpu"];
    success(&mut generate(&scene(COMPLETE), &desk.path("alone"), &[&alone[..], &QUICK[1..]].concat()));
    let jobs = desk.path("store").join("jobs");
    let rasters: Vec<String> = files(&desk.path("alone")).into_iter().filter(|name| name.ends_with(".tif")).collect();
    assert_eq!(rasters.len(), 6);
    for name in &rasters {
        let read = |dir: &Path| std::fs::read(dir.join(name)).expect("file");
        assert!(read(&desk.path("alone")) == read(&jobs.join("job1")), "{name} differs");
    }
    let before = desk.bytes("store");
    assert_eq!(statuses(&success(&mut desk.batch("store", &[]))), ["skipped", "skipped"]);
    // A file that is gone, and one that was cut off.
    std::fs::remove_file(jobs.join("job0").join("item.json")).expect("removed");
    std::fs::write(jobs.join("job1").join(&rasters[0]), "half").expect("cut off");
    assert_eq!(desk.status("store")["done"], 0);
    assert_eq!(statuses(&success(&mut desk.batch("store", &[]))), ["done", "done"]);
    assert!(before == desk.bytes("store"), "other bytes after damage");
    assert_eq!(desk.status("store")["done"], 2);
}

#[test]
fn shards_and_limits_divide_the_work_and_any_worker_goes_on() {
    let desk = Desk::new(&windows(5));
    success(&mut desk.batch("one", &[]));
    let odd = success(&mut desk.batch("many", &["--shard", "1/2"]));
    assert_eq!(lines(&odd).iter().map(|line| line["job"].clone()).collect::<Vec<_>>(), ["job1", "job3"]);
    assert_eq!(statuses(&success(&mut desk.batch("many", &["--limit", "1"]))), ["done"]);
    assert_eq!(desk.status("many")["left"], 2);
    // Two at once share what is left.
    let mut others: Vec<_> = (0..2)
        .map(|_| {
            let command = desk.batch("many", &[]);
            let mut worker = std::process::Command::new(command.get_program());
            worker.args(command.get_args()).envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            worker.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("worker")
        })
        .collect();
    let done = others.drain(..).map(|worker| {
        let output = worker.wait_with_output().expect("ended");
        assert!(output.status.success());
        statuses(&String::from_utf8(output.stdout).expect("text")).iter().filter(|status| *status == "done").count()
    });
    assert_eq!(done.sum::<usize>(), 2, "each job once");
    assert!(desk.bytes("one") == desk.bytes("many"), "other bytes by other workers");
}

#[test]
fn what_is_wrong_is_told_with_the_row_and_other_jobs_are_done() {
    let dir = tempfile::tempdir().expect("folder");
    let gone = copy_scene(COMPLETE, dir.path());
    let broken = format!("gone,{},\"0,0\",1\nodd,{},\"1,1\",1\n", gone.display(), scene(COMPLETE).display());
    let desk = Desk::new(&(windows(2) + &broken));
    std::fs::remove_dir_all(&gone).expect("gone");
    let output = desk.batch("store", &["--keep-going", "--retry", "1"]).output().expect("started");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(statuses(&text), ["done", "done", "failed", "failed"]);
    let reasons: Vec<String> =
        lines(&text)[2..].iter().map(|line| line["reason"].as_str().expect("why").to_owned()).collect();
    assert!(reasons[0].contains("Row 3 (gone)") && reasons[0].contains("no such scene folder"), "{}", reasons[0]);
    assert!(reasons[1].contains("Row 4 (odd)") && reasons[1].contains("multiples of 60"), "{}", reasons[1]);
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("tried again") && said.contains("Some jobs failed: of 4 jobs 2 computed"), "{said}");
    let report = desk.status("store");
    assert_eq!(
        (report["done"].as_u64(), report["failed"].as_u64(), report["left"].as_u64()),
        (Some(2), Some(2), Some(0))
    );
    assert_eq!(report["reasons"].as_array().map(Vec::len), Some(2));
    // The scene is back: what failed is done, and is a failure no longer. Without --keep-going the next failure is the end.
    copy_scene(COMPLETE, dir.path());
    let output = desk.batch("store", &[]).output().expect("started");
    assert_eq!(statuses(&String::from_utf8(output.stdout).expect("text")), ["skipped", "skipped", "done", "failed"]);
    assert_eq!(desk.status("store")["failed"], 1);
    // Bad plans are wrong arguments, and nothing is done.
    for (plan, said) in [
        (windows(2).replace("seed", "sede"), "\"sede\""),
        (windows(2).replace("job1", "job0"), "Rows 1 and 2 have the same name"),
        (windows(2) + "job9\n", "Row 3 has 1 values"),
    ] {
        std::fs::write(desk.path("plan.csv"), plan).expect("plan");
        let told = failure(&mut desk.batch("new", &[]), 2);
        assert!(told.contains(said) && !desk.path("new").exists(), "{told}");
    }
}

#[test]
fn results_of_two_plans_or_of_other_ways_of_computing_never_mix() {
    let desk = Desk::new(&windows(2));
    success(&mut desk.batch("store", &["--limit", "1"]));
    let before = desk.bytes("store");
    std::fs::write(desk.path("plan.csv"), windows(3)).expect("plan");
    let told = failure(&mut desk.batch("store", &[]), 2);
    assert!(told.contains("begun with another plan (2 rows; this one has 3"), "{told}");
    std::fs::write(desk.path("plan.csv"), windows(2).replace(",1\n", ",7\n")).expect("plan");
    failure(&mut desk.batch("store", &[]), 2);
    // A store of a machine with other instructions: what is left is declined, with the reason.
    std::fs::write(desk.path("plan.csv"), windows(2)).expect("plan");
    let path = desk.path("store").join("batch.json");
    let text = std::fs::read_to_string(&path).expect("store");
    let computed =
        serde_json::from_str::<Value>(&text).expect("JSON")["pins"]["computed"].as_str().expect("way").to_owned();
    std::fs::write(&path, text.replace(&computed, "f32 on CPU with others")).expect("store");
    let output = desk.batch("store", &[]).output().expect("started");
    assert_eq!(output.status.code(), Some(3));
    let told = lines(&String::from_utf8(output.stdout).expect("text"));
    assert!(told.iter().all(|line| line["status"] == "declined"), "{told:?}");
    let reason = told[0]["reason"].as_str().expect("why");
    assert!(reason.contains("f32 on CPU with others") && reason.contains(&computed), "{reason}");
    assert!(before == desk.bytes("store"), "something was done nevertheless");
    // A folder with something else in it.
    std::fs::create_dir(desk.path("other")).and_then(|()| std::fs::write(desk.path("other/x"), "")).expect("file");
    assert!(failure(&mut desk.batch("other", &[]), 2).contains("holds something else"));
}

#[test]
fn a_worker_that_is_killed_at_any_moment_loses_nothing() {
    let desk = Desk::new(&windows(4));
    success(&mut desk.batch("one", &[]));
    let mut kills = 0;
    for wait in [30, 150, 310, 450, 520, 90] {
        let command = desk.batch("killed", &[]);
        let mut worker = std::process::Command::new(command.get_program());
        worker.args(command.get_args()).envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut worker = worker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("worker");
        std::thread::sleep(Duration::from_millis(wait));
        if worker.try_wait().expect("state").is_none() {
            worker.kill().expect("killed");
            kills += 1;
        }
        worker.wait().expect("ended");
    }
    success(&mut desk.batch("killed", &[]));
    assert!(kills > 0 && desk.bytes("one") == desk.bytes("killed"), "after {kills} kills");
    assert!(files(&desk.path("killed/claims")).is_empty(), "claims of dead workers stayed");
}

#[cfg(unix)]
#[test]
fn on_a_full_disk_jobs_fail_with_the_reason_and_leave_nothing() {
    let desk = Desk::new(&windows(1));
    // No file may grow beyond 4 KiB: the same failed write as on a full disk, without filling one.
    let program = desk.batch("store", &[]);
    let output = crate::common::prepared("trap '' XFSZ; ulimit -f 8", &program)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .expect("started");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).expect("text");
    assert!(told.contains("Row 1 (job0)") && told.contains("\"failed\""), "{told}");
    assert!(files(&desk.path("store/jobs")).is_empty(), "{:?}", files(&desk.path("store/jobs")));
    assert_eq!(statuses(&success(&mut desk.batch("store", &[]))), ["done"]);
}

#[test]
fn the_catalogue_holds_every_job_and_says_where_its_files_are() {
    let desk = Desk::new(&windows(3));
    assert!(failure(copgen().args(["batch", "collect"]).arg(desk.path("store")), 2).contains("There is no batch"));
    success(&mut desk.batch("store", &["--limit", "2"]));
    let output = copgen().args(["batch", "collect"]).arg(desk.path("store")).output().expect("started");
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 jobs of the plan are not done"));
    let read = |path: &str| -> Value {
        let text = std::fs::read_to_string(desk.path("store").join(path)).expect("file");
        serde_json::from_str(&text).expect("JSON")
    };
    let collection = read("collection.json");
    assert_eq!((collection["type"].as_str(), collection["stac_version"].as_str()), (Some("Collection"), Some("1.1.0")));
    let links = collection["links"].as_array().expect("links");
    let items: Vec<&str> = links.iter().filter(|l| l["rel"] == "item").filter_map(|l| l["href"].as_str()).collect();
    assert_eq!(items, ["./jobs/job0/item.json", "./jobs/job1/item.json"]);
    let item = read("jobs/job1/item.json");
    assert_eq!((item["id"].as_str(), &item["collection"]), (Some("job1"), &collection["id"]));
    assert_eq!(item["properties"]["created"], "2023-11-14T22:13:20Z");
    let file = std::fs::File::open(desk.path("store/items.parquet")).expect("table");
    let table = SerializedFileReader::new(file).expect("parquet");
    let metadata = table.metadata().file_metadata();
    let told = |key: &str| -> Value {
        let all = metadata.key_value_metadata().expect("metadata");
        let value = all.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone()).expect("told");
        serde_json::from_str(&value).expect("JSON")
    };
    assert_eq!(told("geo")["columns"]["geometry"]["encoding"], "WKB");
    assert!(told("stac-geoparquet")["collections"][collection["id"].as_str().expect("id")].is_object());
    let rows: Vec<Value> = table.into_iter().map(|row| json_of(&row.expect("row"))).collect();
    assert_eq!(rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>(), ["job0", "job1"]);
    let bounds: Vec<f64> = item["bbox"].as_array().expect("box").iter().filter_map(Value::as_f64).collect();
    assert_eq!(rows[1]["bbox"]["xmin"].as_f64(), Some(bounds[0]));
    for (key, asset) in item["assets"].as_object().expect("assets") {
        let href = rows[1]["assets"][key]["href"].as_str().expect("address");
        assert!(desk.path("store").join(href).is_file(), "{href}");
        assert_eq!(rows[1]["assets"][key]["proj:shape"], asset["proj:shape"]);
        assert_eq!(rows[1]["assets"][key]["bands"][0]["name"], asset["bands"][0]["name"]);
    }
    success(copgen().args(["batch", "collect", "--base", "https://example.org/s/"]).arg(desk.path("store")));
    let file = std::fs::File::open(desk.path("store/items.parquet")).expect("table");
    let row = SerializedFileReader::new(file).expect("parquet").into_iter().next().expect("row").expect("row");
    assert!(json_of(&row).to_string().contains("https://example.org/s/jobs/job0/433D_629L_3_1_e0_s0_seed0_r000"));
}

#[test]
fn plans_are_tables_of_parquet_and_folders_of_scenes_too() {
    let desk = Desk::new("");
    // The catalogue of one batch may be the plan of another: any table with these columns.
    let path = desk.path("plan.parquet");
    let schema = "message m { required binary name (UTF8); required binary scene (UTF8); optional int64 seed; optional binary geometry; }";
    let schema = parquet::schema::parser::parse_message_type(schema).expect("schema");
    let file = std::fs::File::create(&path).expect("file");
    let mut writer =
        parquet::file::writer::SerializedFileWriter::new(file, schema.into(), Default::default()).expect("writer");
    let mut group = writer.next_row_group().expect("group");
    let place = scene(COMPLETE).display().to_string();
    for text in ["a", place.as_str()] {
        let mut column = group.next_column().expect("column").expect("one");
        let values = [parquet::data_type::ByteArray::from(text)];
        column.typed::<parquet::data_type::ByteArrayType>().write_batch(&values, None, None).expect("text");
        column.close().expect("column");
    }
    let mut column = group.next_column().expect("column").expect("one");
    column.typed::<parquet::data_type::Int64Type>().write_batch(&[3], Some(&[1]), None).expect("number");
    column.close().expect("column");
    let mut column = group.next_column().expect("column").expect("one");
    column.typed::<parquet::data_type::ByteArrayType>().write_batch(&[], Some(&[0]), None).expect("nothing");
    column.close().and_then(|_| group.close()).and_then(|_| writer.close()).expect("file");
    let run = |plan: &Path, store: &str| {
        let mut command = copgen();
        command.arg("batch").arg(plan).arg("--out").arg(desk.path(store)).args(["--device", "cpu"]).args(QUICK);
        success(&mut command)
    };
    assert_eq!(statuses(&run(&path, "store")), ["done"]);
    assert!(files(&desk.path("store/jobs/a")).iter().any(|name| name.contains("_seed3_")));
    std::fs::create_dir(desk.path("scenes")).expect("folder");
    copy_scene(COMPLETE, &desk.path("scenes"));
    let told = lines(&run(&desk.path("scenes"), "places"));
    assert_eq!((told.len(), told[0]["job"].as_str(), told[0]["status"].as_str()), (1, Some(COMPLETE), Some("done")));
}

#[test]
fn a_row_that_names_a_cell_alone_has_open_data_fetched_which_stays_the_same() {
    let catalogue = Catalogue::start();
    let config = tempfile::tempdir().expect("folder");
    let plan = config.path().join("plan.csv");
    let families = "\"S2L2A,S1RTC,DEM,LULC\"";
    std::fs::write(&plan, format!("cell,from,to,families\n{CELL},2023-01-01,2023-12-31,{families}\n")).expect("plan");
    let run = |store: &Path| {
        let mut command = program(&catalogue, config.path());
        command.env("SOURCE_DATE_EPOCH", "1700000000");
        command.arg("batch").arg(&plan).arg("--out").arg(store).args(["--device", "cpu"]);
        command.args(["--", "--given", "DEM,LULC", "--generate", "S2L2A_60m", "--samples", "1", "--steps", "2"]);
        statuses(&success(&mut command))
    };
    let store = config.path().join("store");
    assert_eq!(run(&store), ["done"]);
    let items = store.join("items").join(format!("{CELL}.json"));
    let fixed: Value = serde_json::from_str(&std::fs::read_to_string(&items).expect("items")).expect("JSON");
    assert!(fixed.as_array().is_some_and(|all| all.len() == 4), "{fixed}");
    // What is done again is done with the same items, even where the catalogue would give others by now.
    let job = store.join("jobs").join(CELL);
    let read = || files(&job).into_iter().map(|name| std::fs::read(job.join(name)).expect("file")).collect::<Vec<_>>();
    let before = read();
    std::fs::remove_dir_all(&job).and_then(|()| std::fs::remove_dir_all(store.join("scenes"))).expect("removed");
    catalogue.server.put("/search", crate::common::server::Reply::new("text/plain", "gone").status(500));
    assert_eq!(run(&store), ["done"]);
    assert!(before == read(), "other bytes of the same items");
}
