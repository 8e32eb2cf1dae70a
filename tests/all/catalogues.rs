//! Catalogues of open data that answer in their own way: without end, in pages, with errors, across 180 degrees.

use crate::common::catalogue::ground;
use crate::common::server::{Body, Reply, Seen, Server};
use copgen::modality::Location;
use copgen::net::Network;
use copgen::source::{Provider, Query, providers_in, survey};
use serde_json::json;
use std::sync::{Arc, Mutex};

/// A provider on loopback that has elevation, and no other.
fn elevation_of(server: &Server) -> Vec<Provider> {
    let dir = tempfile::tempdir().expect("folder");
    let sources = dir.path().join("sources.toml");
    let text = format!(
        "[[provider]]\nname = \"Loopback\"\napi = \"{}\"\n[[provider.product]]\nfamily = \"DEM\"\ncollection = \"c\"\nlicence = \"l\"\nattribution = \"a\"\ntime = \"always\"\nbands = {{ DEM = \"data\" }}\n",
        server.url
    );
    std::fs::write(&sources, text).expect("sources");
    providers_in(&sources).expect("sources").into_iter().filter(|provider| provider.name == "Loopback").collect()
}

#[test]
fn a_catalogue_without_end_is_read_in_part_and_that_is_told() {
    let server = Server::start();
    let url = server.url.clone();
    server.handle("/search", move |seen: &Seen| {
        let page = serde_json::from_slice::<serde_json::Value>(&seen.body).expect("question")["page"].as_u64();
        let page = page.unwrap_or(0);
        let item = json!({
            "id": format!("tile {page}"), "bbox": [-180, -90, 180, 90], "properties": {},
            "assets": {"data": {"href": format!("{url}/dem.tif")}},
        });
        let next = json!({"rel": "next", "method": "POST", "merge": true, "href": format!("{url}/search"), "body": {"page": page + 1}});
        Reply::json(&json!({"type": "FeatureCollection", "features": [item], "links": [next]}))
    });
    let providers = elevation_of(&server);
    let day = jiff::civil::date(2023, 1, 1);
    let query = Query { corners: ground().corners().expect("corners"), from: day, to: day, most_cloud: 100.0 };
    let go_on = std::sync::atomic::AtomicBool::new(false);
    let found = survey(&Network::default(), &providers, &["DEM".to_owned()], &query, &go_on).expect("survey");
    assert_eq!(found.found["DEM"].len(), 1, "pages of one map belong together");
    assert!(found.problems[0].contains("more images than are looked at"), "{:?}", found.problems);
}

#[test]
fn catalogues_that_say_things_in_their_own_way_are_understood() {
    let item = |url: &str, id: &str| {
        json!({
            "id": id, "bbox": [-180, -90, 180, 90], "properties": {},
            "assets": {"data": {"href": format!("{url}/{id}.tif"), "raster:bands": [{"nodata": "ODD"}]}},
        })
    };
    let day = jiff::civil::date(2023, 1, 1);
    let query = Query { corners: ground().corners().expect("corners"), from: day, to: day, most_cloud: 100.0 };
    let go_on = std::sync::atomic::AtomicBool::new(false);
    let found = |server: &Server| {
        let found = survey(&Network::default(), &elevation_of(server), &["DEM".to_owned()], &query, &go_on);
        found.map_err(|e| e.to_string())
    };
    // A next page whose method is written small, and numbers that are none.
    let server = Server::start();
    let url = server.url.clone();
    server.handle("/search", move |seen: &Seen| {
        let question: serde_json::Value = serde_json::from_slice(&seen.body).expect("a question");
        let link = json!({"rel": "next", "method": "post", "merge": true, "href": format!("{url}/search"), "body": {"page": 2}});
        let (id, links) = if question["page"] == 2 { ("second", vec![]) } else { ("first", vec![link]) };
        let answer = json!({"type": "FeatureCollection", "features": [item(&url, id)], "links": links});
        Reply { body: Body::Bytes(Arc::new(answer.to_string().replace("\"ODD\"", "NaN").into_bytes())), ..Reply::json(&answer) }
    });
    let both = found(&server).expect("survey");
    assert_eq!(both.found["DEM"][0].items.len(), 2);
    assert!(both.problems.is_empty(), "{:?}", both.problems);
    // One that ends at a page, and says by a number that there is more.
    let server = Server::start();
    let url = server.url.clone();
    server.handle("/search", move |_: &Seen| {
        let answer =
            json!({"type": "FeatureCollection", "features": [item(&url, "a")], "links": [], "numberMatched": 350});
        Reply::json(&answer)
    });
    let part = found(&server).expect("survey");
    assert!(part.problems[0].contains("more images than are looked at"), "{:?}", part.problems);
    // One that cuts its pages smaller than was asked for, and does not lead on.
    let server = Server::start();
    let url = server.url.clone();
    server.handle("/search", move |_: &Seen| {
        let context = json!({"limit": 1, "returned": 1});
        let answer =
            json!({"type": "FeatureCollection", "features": [item(&url, "a")], "links": [], "context": context});
        Reply::json(&answer)
    });
    let part = found(&server).expect("survey");
    assert!(part.problems[0].contains("more images than are looked at"), "{:?}", part.problems);
    // Pages without items that lead on, and a last one that leads to itself.
    for empty in [1, 2] {
        let server = Server::start();
        let url = server.url.clone();
        server.handle("/search", move |seen: &Seen| {
            let page = seen.query.strip_prefix("page=").and_then(|page| page.parse().ok()).unwrap_or(1);
            let features = if page == empty { vec![] } else { vec![item(&url, &format!("page {page}"))] };
            let next = json!([{"rel": "next", "href": format!("{url}/search?page={}", 3.min(page + 1))}]);
            Reply::json(&json!({"type": "FeatureCollection", "features": features, "links": next}))
        });
        let all = found(&server).expect("survey");
        assert_eq!((all.found["DEM"][0].items.len(), all.problems.len()), (2, 0), "{empty}");
        assert_eq!(server.seen().len(), 3, "{empty}");
    }
    // One that answers with what went wrong, as if all were well.
    let server = Server::start();
    server.handle("/search", |_: &Seen| {
        Reply::json(&json!({"code": "QueryError", "description": "The search timed out."}))
    });
    let problem = found(&server).expect_err("no items");
    assert!(problem.contains("QueryError: The search timed out."), "{problem}");
}

#[test]
fn pages_go_on_with_the_headers_they_want_and_elsewhere_without_any() {
    let item = |url: &str, id: &str| {
        json!({"id": id, "bbox": [-180, -90, 180, 90], "properties": {},
            "assets": {"data": {"href": format!("{url}/{id}.tif")}}})
    };
    let day = jiff::civil::date(2023, 1, 1);
    let query = Query { corners: ground().corners().expect("corners"), from: day, to: day, most_cloud: 100.0 };
    let go_on = std::sync::atomic::AtomicBool::new(false);
    let found = |server: &Server| {
        let found = survey(&Network::default(), &elevation_of(server), &["DEM".to_owned()], &query, &go_on);
        found.map(|found| found.found["DEM"][0].items.len()).map_err(|e| e.to_string())
    };
    // Which page it is stands in a header alone, as a list.
    let server = Server::start();
    let url = server.url.clone();
    server.handle("/search", move |seen: &Seen| {
        let page = seen.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("search-after"));
        let link = json!({"rel": "next", "method": "POST", "href": format!("{url}/search"), "headers": {"Search-After": ["a", "b"]}});
        let (id, links) = match page {
            Some((_, value)) if value == "a, b" => ("second", vec![]),
            _ => ("first", vec![link]),
        };
        Reply::json(&json!({"type": "FeatureCollection", "features": [item(&url, id)], "links": links}))
    });
    assert_eq!(found(&server), Ok(2));
    // The second page lies elsewhere, with and without a header that might be a key.
    for (headers, pages) in [(json!({}), Some(2)), (json!({"Authorization": "Bearer x"}), None)] {
        let (server, other) = (Server::start(), Server::start());
        let (url, beyond) = (server.url.clone(), other.url.clone());
        server.handle("/search", move |_: &Seen| {
            let link = json!({"rel": "next", "href": format!("{beyond}/more"), "headers": headers});
            Reply::json(&json!({"type": "FeatureCollection", "features": [item(&url, "first")], "links": [link]}))
        });
        let url = other.url.clone();
        other.handle("/more", move |_: &Seen| {
            Reply::json(&json!({"type": "FeatureCollection", "features": [item(&url, "second")], "links": []}))
        });
        match (found(&server), pages) {
            (Ok(count), Some(pages)) => assert_eq!(count, pages),
            (Err(problem), None) => {
                assert!(
                    problem.contains("another server that wants headers") && problem.contains("/more"),
                    "{problem}"
                );
                assert!(other.seen().is_empty(), "nothing went there");
            }
            odd => panic!("{odd:?}"),
        }
    }
}

#[test]
fn ground_on_the_antimeridian_is_asked_for_from_both_sides() {
    let server = Server::start();
    let url = server.url.clone();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = asked.clone();
    server.handle("/search", move |seen: &Seen| {
        let question: serde_json::Value = serde_json::from_slice(&seen.body).expect("question");
        told.lock().expect("list").push(question["bbox"].clone());
        let assets = json!({"data": {"href": format!("{url}/dem.tif")}});
        let item = json!({"id": "both sides", "bbox": [179, -17, -179, -15], "properties": {}, "assets": assets});
        Reply::json(&json!({"type": "FeatureCollection", "features": [item], "links": []}))
    });
    let day = jiff::civil::date(2023, 1, 1);
    let corner = |lat, lon| Location { lat, lon };
    let corners = [corner(-16.0, 179.5), corner(-16.0, -179.5), corner(-16.25, -179.5), corner(-16.25, 179.5)];
    let query = Query { corners, from: day, to: day, most_cloud: 100.0 };
    let go_on = std::sync::atomic::AtomicBool::new(false);
    let families = ["DEM".to_owned()];
    let found = survey(&Network::default(), &elevation_of(&server), &families, &query, &go_on).expect("survey");
    let [elevation] = &found.found["DEM"][..] else { panic!("{found:?}") };
    assert_eq!((elevation.items.len(), elevation.coverage), (1, 1.0), "one tile, told twice");
    let asked = asked.lock().expect("list");
    assert_eq!(asked[..], [json!([179.5, -16.25, 180.0, -16.0]), json!([-180.0, -16.25, -179.5, -16.0])]);
}

#[test]
fn questions_go_where_servers_send_them_and_into_the_address_where_they_take_no_others() {
    let day = jiff::civil::date(2023, 1, 1);
    let query = Query { corners: ground().corners().expect("corners"), from: day, to: day, most_cloud: 100.0 };
    let go_on = std::sync::atomic::AtomicBool::new(false);
    let found = |server: &Server| {
        let found = survey(&Network::default(), &elevation_of(server), &["DEM".to_owned()], &query, &go_on);
        found.map_err(|e| e.to_string()).map(|found| found.found["DEM"][0].items.len())
    };
    let answer = |url: &str| {
        let item = |id: &str, collection: &str| {
            json!({
                "id": id, "collection": collection, "bbox": [-180, -90, 180, 90], "properties": {},
                "assets": {"data": {"href": format!("{url}/{id}.tif")}},
            })
        };
        // What is of another collection was not asked for; links may be anything.
        let links = json!([{"rel": "next", "href": null}, {"href": "x"}, 7]);
        Reply::json(
            &json!({"type": "FeatureCollection", "features": [item("a", "c"), item("b", "other")], "links": links}),
        )
    };
    for status in [301, 302, 307, 308] {
        let server = Server::start();
        let url = server.url.clone();
        server.handle("/search", move |_: &Seen| {
            Reply::new("text/plain", "").status(status).header("location", "/new/search")
        });
        server.handle("/new/search", move |seen: &Seen| {
            let question: Option<serde_json::Value> = serde_json::from_slice(&seen.body).ok();
            if seen.method == "POST" && question.is_some_and(|question| question["collections"][0] == "c") {
                return answer(&url);
            }
            Reply::new("text/plain", "").status(400)
        });
        assert_eq!(found(&server), Ok(1), "{status}");
    }
    // The answer lies elsewhere, to be got.
    let server = Server::start();
    let url = server.url.clone();
    server.handle("/search", |_: &Seen| Reply::new("text/plain", "").status(303).header("location", "/results/7"));
    server.handle("/results/7", move |seen: &Seen| {
        if seen.method == "GET" { answer(&url) } else { Reply::new("text/plain", "").status(405) }
    });
    assert_eq!(found(&server), Ok(1));
    for status in [404, 405, 501] {
        let server = Server::start();
        let url = server.url.clone();
        server.handle("/search", move |seen: &Seen| {
            let asked = seen.query.contains("collections=c&bbox=") && seen.query.contains("limit=100");
            if seen.method == "GET" && asked { answer(&url) } else { Reply::new("text/plain", "").status(status) }
        });
        assert_eq!(found(&server), Ok(1), "{status}");
    }
    // Words about what is wrong, in an object of their own.
    for wrong in [
        json!({"error": {"code": 400, "message": "bbox too large"}}),
        json!({"errors": [{"code": 400, "detail": "bbox too large"}]}),
    ] {
        let server = Server::start();
        server.put("/search", Reply::json(&wrong));
        let problem = found(&server).expect_err("no items");
        assert!(problem.contains("400: bbox too large"), "{problem}");
    }
}
