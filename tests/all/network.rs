//! The way to the network, with servers as bad as real ones.

use crate::common::server::{Fault, Reply, Seen, Server};
use copgen::Error;
use copgen::net::{Fault as Found, HttpRequest, Network, RetryPolicy};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static GO_ON: AtomicBool = AtomicBool::new(false);

fn network() -> Network {
    let patience = RetryPolicy {
        tries: 3,
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_millis(20),
        silence: Duration::from_millis(400),
    };
    Network::new(patience)
}

fn fault_of<T: std::fmt::Debug>(result: Result<T, Error>) -> (Found, String) {
    match result {
        Err(Error::Network { fault, problem, .. }) => (fault, problem),
        other => panic!("{other:?}"),
    }
}

fn get(server: &Server, path: &str) -> Result<Vec<u8>, Error> {
    network().bytes(&HttpRequest::get(&format!("{}{path}", server.url)), 1 << 20, &GO_ON)
}

#[test]
fn what_passes_is_tried_again_and_what_lasts_is_not() {
    let server = Server::start();
    server.put("/a", Reply::new("text/plain", "here"));
    for fault in [
        Fault::Status(503),
        Fault::Busy(503, "0"),
        Fault::Busy(429, "0"),
        Fault::BreakAfter(2),
        Fault::LieAboutLength(5),
        Fault::Silent,
    ] {
        server.fail("/a", fault.clone(), 2);
        assert_eq!(get(&server, "/a").expect("third try"), b"here", "{fault:?}");
        server.fail("/a", fault.clone(), 3);
        assert!(fault_of(get(&server, "/a")).0.passing(), "{fault:?}");
    }
    let before = server.seen().len();
    assert_eq!(fault_of(get(&server, "/nothing")).0, Found::NotFound);
    server.fail("/a", Fault::Status(403), 1);
    assert_eq!(fault_of(get(&server, "/a")).0, Found::Refused);
    assert_eq!(server.seen().len(), before + 2, "no second try");
}

#[test]
fn who_asks_to_be_left_alone_for_long_is_left_alone() {
    let server = Server::start();
    server.put("/a", Reply::new("text/plain", "here"));
    for (status, asked) in [(429, "60"), (503, "60"), (503, "Fri, 31 Dec 2100 23:59:59 GMT")] {
        let before = server.seen().len();
        server.fail("/a", Fault::Busy(status, asked), 9);
        let (fault, problem) = fault_of(get(&server, "/a"));
        assert!(fault.wait_asked() >= Some(Duration::from_secs(60)), "{fault:?}");
        assert!(problem.contains("try again in ") && problem.ends_with(" s"), "{problem}");
        assert_eq!(server.seen().len(), before + 1, "asked once: {status} {asked}");
        server.heal();
    }
}

#[test]
fn answers_have_limits() {
    let server = Server::start();
    server.put("/big", Reply::new("application/json", vec![b' '; 2 << 20]));
    let (fault, problem) = fault_of(get(&server, "/big"));
    assert!(fault == Found::Unexpected && problem.contains("1 MB"), "{problem}");
    server.fail("/big", Fault::Endless, 1);
    assert_eq!(fault_of(get(&server, "/big")).0, Found::Unexpected);
    server.fail("/big", Fault::RedirectLoop, 100);
    let (fault, problem) = fault_of(get(&server, "/big"));
    assert!(fault == Found::Unexpected && problem.contains("without end"), "{problem}");
    assert!(server.seen().len() < 12, "redirects end: {}", server.seen().len());
}

#[test]
fn pages_are_no_data() {
    let server = Server::start();
    server.put("/stac", Reply::new("application/json", "{\"a\": 1}"));
    let url = format!("{}/stac", server.url);
    let read = || network().json::<serde_json::Value>(&HttpRequest::get(&url), &GO_ON);
    assert_eq!(read().expect("json")["a"], 1);
    server.fail("/stac", Fault::ContentType("text/html"), 1);
    let (_, problem) = fault_of(read());
    assert!(problem.contains("login page"), "{problem}");
    server.fail("/stac", Fault::WrongBytes, 1);
    assert_eq!(fault_of(read()).0, Found::Unexpected);
}

#[test]
fn the_switch_keeps_everything_in() {
    let server = Server::start();
    server.put("/a", Reply::new("text/plain", "here"));
    let network = network();
    network.set_offline(true);
    let url = format!("{}/a?key=secret", server.url);
    let error = network.bytes(&HttpRequest::get(&url), 100, &GO_ON).expect_err("offline").to_string();
    assert!(error.contains("offline") && !error.contains("secret"), "{error}");
    assert!(server.seen().is_empty());
    network.set_offline(false);
    assert_eq!(network.bytes(&HttpRequest::get(&url), 100, &GO_ON).expect("online"), b"here");
    let agent = &server.seen()[0].headers["user-agent"];
    assert!(agent.starts_with("COP-GEN-Explorer/"), "{agent}");
}

#[test]
fn a_server_that_is_not_there_and_a_stop() {
    let (fault, problem) = fault_of(network().bytes(&HttpRequest::get("http://127.0.0.1:9/"), 100, &GO_ON));
    assert!(fault == Found::Unreachable && problem.contains("connection"), "{problem}");
    let server = Server::start();
    server.put("/a", Reply::new("text/plain", vec![0; 100_000]));
    server.fail("/a", Fault::Slow(100, Duration::from_millis(20)), 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| network().bytes(&HttpRequest::get(&format!("{}/a", server.url)), 1 << 20, &stop));
        std::thread::sleep(Duration::from_millis(100));
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(asking.join().expect("thread"), Err(Error::Cancelled)));
    });
    assert!(server.sent("/a") < 100_000, "it ends before the answer does");
}

#[test]
fn what_was_begun_goes_on_where_it_stopped() {
    let server = Server::start();
    let all: Vec<u8> = (0..10_000u32).map(|i| (i % 251) as u8).collect();
    server.put("/a", Reply::new("application/octet-stream", all.clone()));
    let url = format!("{}/a", server.url);
    let read = |from| {
        let network = network();
        let mut answer = network.open(&HttpRequest { from, ..HttpRequest::get(&url) }).expect("answer");
        let (mut got, begin, total) = (Vec::new(), answer.from, answer.total);
        network
            .copy(&url, &mut answer, &GO_ON, &mut |piece| {
                got.extend_from_slice(piece);
                Ok(())
            })
            .expect("body");
        assert_eq!(total, Some(10_000));
        assert_eq!(got, all[begin as usize..]);
        begin
    };
    assert_eq!(read(4000), 4000);
    server.fail("/a", Fault::IgnoreRange, 1);
    assert_eq!(read(4000), 0, "a server that cannot skip says so");
}

#[test]
fn keys_stay_with_the_server_they_are_for() {
    let (server, other) = (Server::start(), Server::start());
    other.put("/there", Reply::new("text/plain", "here"));
    let to = |target: String| Reply::new("text/plain", "").status(302).header("location", &target);
    server.put("/away", to(format!("{}/there", other.url)));
    server.put("/near", to("near/end".into()));
    server.put("/near/end", Reply::new("text/plain", "end"));
    server.put("/root", to("/near/end".into()));
    server.put("/far/away/up", to("../../near/end".into()));
    server.put("/far/away/across", to(format!("{}/near/end", server.url.trim_start_matches("http:"))));
    let query = |seen: &Seen| match seen.query.as_str() {
        "to=end" => Reply::new("text/plain", "end"),
        _ => Reply::new("text/plain", "").status(307).header("location", "?to=end"),
    };
    server.handle("/near/query", query);
    let headers = [("x-key".to_owned(), "secret".to_owned())];
    let read = |path: &str| {
        let url = format!("{}{path}", server.url);
        network().bytes(&HttpRequest { headers: &headers, ..HttpRequest::get(&url) }, 100, &GO_ON)
    };
    assert_eq!(read("/away").expect("followed"), b"here");
    assert!(!other.seen()[0].headers.contains_key("x-key"), "the key stays with its server");
    for path in ["/root", "/near", "/far/away/up", "/far/away/across", "/near/query"] {
        assert_eq!(read(path).expect("followed"), b"end", "{path}");
        assert_eq!(server.seen().last().map(|seen| seen.headers["x-key"].clone()).as_deref(), Some("secret"));
    }
}
