//! The admission server without a cluster: what it answers, how often it verifies, and what it does with those who
//! mean it ill. `kubernetes.rs` has it asked by a real API server.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test: failing is its answer"
)]

use std::fs;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use softhsm_tests::admission::{Client, Stage, distinct, review, verdict};
use softhsm_tests::peers::installed;
use softhsm_tests::peers::registry::{CERTIFICATE, KEY, Registry};
use softhsm_tests::ports::free_port;

/// Longest request that the server reads, in bytes.
const MAX_BODY: usize = 7 << 20;

fn stage() -> Stage {
    Stage::new(Registry::ggcr().start())
}

/// Does something as often as there are items, on several threads.
fn at_once<T: Sync>(items: &[T], threads: usize, work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

#[test]
fn images_are_judged_by_the_policy() {
    let stage = stage();
    let good = stage.signed("app:v1", "good", "acme");
    let strange = stage.signed("app:v2", "strange", "stranger");
    let unsigned = stage.image("app:v3", "unsigned");
    let server = stage.serve(&[]);
    let client = server.client();
    let ask = |image: &str| verdict(&client.post("/validate?timeout=10s", &review(&[image])));
    assert_eq!(ask(&good), (true, String::new()));
    let (allowed, told) = ask(&strange);
    assert!(
        !allowed && told.contains("does not contain any trusted certificate"),
        "{told}"
    );
    assert!(
        told.contains(&format!("`hardsign verify {strange}`")),
        "{told}"
    );
    let (allowed, told) = ask(&unsigned);
    assert!(
        !allowed && told.contains("no signature is associated"),
        "{told}"
    );
    // One bad image among good ones; the tag beside the digest is nothing.
    let (name, digest) = good.split_once('@').unwrap();
    let both = verdict(&client.post(
        "/validate",
        &review(&[&format!("{name}:any@{digest}"), &unsigned]),
    ));
    assert!(!both.0 && both.1.contains("container c1"), "{both:?}");
    // A tag proves nothing, unless it is made a digest.
    let tag = format!("{name}:v1");
    let (allowed, told) = ask(&tag);
    assert!(!allowed && told.contains("without a digest"), "{told}");
    let mutated = client.post("/mutate", &review(&[&tag, &good])).json();
    assert_eq!(mutated["response"]["patchType"], "JSONPatch");
    let patch = mutated["response"]["patch"].as_str().unwrap();
    let patch = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, patch).unwrap();
    let patch: serde_json::Value = serde_json::from_slice(&patch).unwrap();
    assert_eq!(
        patch,
        json!([
            {"op": "test", "path": "/spec/containers/0/image", "value": tag},
            {"op": "replace", "path": "/spec/containers/0/image", "value": good},
        ])
    );
    // Each verdict is a line of the log.
    let lines = server.events("verdict");
    assert_eq!(
        distinct(&lines, "outcome").into_iter().collect::<Vec<_>>(),
        ["\"refused\"", "\"verified\""]
    );
    assert!(
        lines
            .iter()
            .all(|line| line["policy"].as_str().unwrap().len() == 16)
    );

    // The modes.
    stage.settings(&json!({"mode": "warn"}));
    let warned = client.post("/validate", &review(&[&unsigned])).json();
    assert_eq!(warned["response"]["allowed"], true);
    assert!(
        warned["response"]["warnings"][0]
            .as_str()
            .unwrap()
            .contains("no signature"),
        "{warned}"
    );
    stage.settings(&json!({"mode": "audit"}));
    let audited = client.post("/validate", &review(&[&unsigned])).json();
    assert_eq!(
        (
            &audited["response"]["allowed"],
            &audited["response"]["warnings"]
        ),
        (&json!(true), &json!(null))
    );
    assert!(
        audited["response"]["auditAnnotations"]["reasons"]
            .as_str()
            .unwrap()
            .contains("no signature")
    );
    // A setting that can't be read changes nothing, and is told.
    fs::write(stage.policy().join("admission.hardsign.json"), "{").unwrap();
    assert!(verdict(&client.post("/validate", &review(&[&unsigned]))).0);
    assert_eq!(server.metric("policy_unusable"), 1);
    assert_eq!(server.events("policy-unusable").len(), 1);
    // The next request sees a changed policy, whatever was known before.
    stage.settings(&json!({}));
    stage.trust("stranger");
    assert!(!ask(&good).0);
    assert!(ask(&strange).0);
    stage.trust("acme");
    assert!(ask(&good).0);
}

/// Labels of namespaces that can't be read: a pod is under the strictest mode, and a workload under what is said of workloads.
#[test]
fn workloads_of_an_unknown_namespace() {
    let stage = stage();
    let unsigned = stage.image("app:v1", "unsigned");
    let server = stage.serve(&[]);
    let client = server.client();
    let pod = review(&[&unsigned]);
    let deployment = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "namespace": "n", "name": "d", "operation": "CREATE",
        "object": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": unsigned}]}}}},
    }});
    let deployment = deployment.to_string();
    // Whether the Deployment is admitted, and with a warning.
    for (workloads, allowed, warned) in [
        ("ignore", true, false),
        ("warn", true, true),
        ("refuse", false, false),
    ] {
        stage.settings(&json!({
            "workloads": workloads,
            "namespaces": [{"matchLabels": {"a": "b"}, "mode": "audit"}],
        }));
        let (pod_allowed, told) = verdict(&client.post("/validate", &pod));
        assert!(
            !pod_allowed && told.contains("the policy of the namespace is not known"),
            "{told}"
        );
        let answer = client.post("/validate", &deployment).json();
        let response = &answer["response"];
        assert_eq!(response["allowed"], allowed, "{workloads}: {answer}");
        assert_eq!(
            response["warnings"].is_array(),
            warned,
            "{workloads}: {answer}"
        );
    }
}

#[test]
fn gatekeeper_asks_the_same_engine() {
    let stage = stage();
    let good = stage.signed("app:v1", "good", "acme");
    let unsigned = stage.image("app:v3", "unsigned");
    let server = stage.serve(&[]);
    let tag = format!("{}:v1", good.split_once('@').unwrap().0);
    let asked = json!({
        "apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest",
        "request": {"keys": [tag, unsigned, "not a reference"]},
    });
    let answer = server.client().post("/verify", &asked.to_string()).json();
    assert_eq!(answer["kind"], "ProviderResponse");
    let items = answer["response"]["items"].as_array().unwrap();
    assert_eq!(items[0], json!({"key": tag, "value": good, "error": ""}));
    assert!(
        items[1]["error"].as_str().unwrap().contains("no signature"),
        "{items:?}"
    );
    assert!(
        items[2]["error"].as_str().unwrap().contains("no reference"),
        "{items:?}"
    );
    assert_eq!(answer["response"]["systemError"], "");
}

#[test]
fn two_hundred_pods_of_one_image_are_one_verification() {
    let stage = stage();
    let good = stage.signed("app:v1", "good", "acme");
    let server = stage.serve(&[]);
    let (client, before) = (server.client(), stage.registry.requests().len());
    let body = review(&[&good]);
    at_once(&[(); 200], 32, |()| {
        assert!(verdict(&client.post("/validate?timeout=10s", &body)).0);
    });
    assert_eq!(server.metric("lookups_total{by=\"verification\"}"), 1);
    let again = server.metric("lookups_total{by=\"hit\"}")
        + server.metric("lookups_total{by=\"coalesced\"}");
    assert_eq!(again, 199);
    let asked = stage.registry.requests();
    let fetched = asked[before..]
        .iter()
        .filter(|request| request.path.contains("/blobs/"))
        .count();
    assert_eq!(fetched, 1, "the envelope is fetched once");
}

#[test]
fn a_thousand_images() {
    let stage = stage();
    let images: Vec<String> = (0..1000)
        .map(|at| stage.image(&format!("many:v{at}"), &at.to_string()))
        .collect();
    stage.sign(&images, "acme");
    let server = stage.serve(&["--max-age", "10h"]);
    let client = server.client();
    let wrong = AtomicUsize::new(0);
    let late = AtomicUsize::new(0);
    let round = || {
        at_once(&images, 64, |image| {
            let (allowed, told) = verdict(&client.post("/validate?timeout=10s", &review(&[image])));
            if !allowed && told.contains("no verdict within") {
                late.fetch_add(1, Ordering::Relaxed);
            } else if !allowed {
                wrong.fetch_add(1, Ordering::Relaxed);
            }
        });
    };
    // Cold: an answer in any case, with the reason where there is no verdict yet.
    round();
    assert_eq!(wrong.swap(0, Ordering::Relaxed), 0);
    // By the server's own clock, and with what a busy machine holds it up: it answers after 9.5 s.
    let lines = server.events("verdict");
    let took = lines
        .iter()
        .map(|line| line["milliseconds"].as_u64().unwrap());
    assert_eq!(lines.len(), 1000);
    assert!(took.clone().max().unwrap() < 15_000, "{:?}", took.max());
    // Once all are known, none is late; a busy machine takes a few rounds until then.
    let mut rounds = 0;
    while late.swap(0, Ordering::Relaxed) > 0 {
        while server.metric("verifications_under_way") > 0 {
            thread::sleep(Duration::from_millis(50));
        }
        rounds += 1;
        assert!(rounds < 20);
        round();
    }
    // Warm: none is refused.
    round();
    assert_eq!((wrong.into_inner(), late.into_inner()), (0, 0));
    assert_eq!(server.metric("cached_verdicts"), 1000);
}

#[test]
fn the_answer_comes_before_the_api_server_gives_up() {
    // A registry that drips.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut head = [0; 4096];
                drop(stream.read(&mut head));
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\nX: "));
                while stream.write_all(b"x").is_ok() {
                    thread::sleep(Duration::from_millis(100));
                }
            });
        }
    });
    let stage = stage();
    let server = stage.serve(&[]);
    let slow = format!("localhost:{port}/app@sha256:{}", "0".repeat(64));
    // By the server's own clock: the handshake of a busy machine is not its time.
    for (query, least, most) in [("?timeout=1s", 700, 1000), ("?timeout=3s", 2400, 3000)] {
        // A busy machine may hold up the server itself: then it is asked again.
        let on_time = (0..5).any(|_| {
            let path = format!("/validate{query}");
            let (allowed, told) = verdict(&server.client().post(&path, &review(&[&slow])));
            assert!(!allowed && told.contains("no verdict within"), "{told}");
            let line = server.events("verdict").pop().unwrap();
            let took = line["milliseconds"].as_u64().unwrap();
            assert!(took >= least, "{query}: {took} ms");
            took < most
        });
        assert!(on_time, "{query}");
    }
    // Both asked about one verification.
    assert_eq!(server.metric("verifications_under_way"), 1);
    let lines = server.events("verdict");
    assert_eq!(
        distinct(&lines, "outcome").into_iter().collect::<Vec<_>>(),
        ["\"undecided\""]
    );
    // A registry that is not there is told as that.
    let down = format!("localhost:{}/app@sha256:{}", free_port(), "0".repeat(64));
    let (allowed, told) = verdict(
        &server
            .client()
            .post("/validate?timeout=10s", &review(&[&down])),
    );
    assert!(!allowed && told.contains("onnection refused"), "{told}");
}

#[test]
fn what_is_malformed_is_answered_and_logged() {
    let stage = stage();
    let good = stage.signed("app:v1", "good", "acme");
    let server = stage.serve(&[]);
    let client = server.client();
    for (body, status) in [
        ("", 400),
        ("{}", 400),
        ("[[[[", 400),
        (
            r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{}}"#,
            400,
        ),
    ] {
        assert_eq!(client.post("/validate", body).status, status, "{body}");
    }
    assert_eq!(client.post("/nothing", "").status, 404);
    assert_eq!(client.get("/validate").status, 405);
    // More than the API server ever sends.
    let huge = client.post("/validate", &"x".repeat(8 << 20));
    assert_eq!(huge.status, 413, "{huge:?}");
    // 3 MB of padding is a review like any other.
    let padded = review(&[&good]).replacen(
        "{\"name\":\"p\"}",
        &format!("{{\"annotations\":{{\"x\":\"{}\"}}}}", "y".repeat(3 << 20)),
        1,
    );
    assert!(padded.len() > 3 << 20);
    assert!(verdict(&client.post("/validate", &padded)).0);
    // One image a thousand times is one; different ones, or places, are too many at some point.
    let many: Vec<&str> = vec![good.as_str(); 1000];
    assert!(verdict(&client.post("/validate", &review(&many))).0);
    let different: Vec<String> = (0..100_000).map(|at| format!("a.example/b:{at}")).collect();
    let different: Vec<&str> = different.iter().map(String::as_str).collect();
    for (images, told) in [
        (&different[..501], "more than 500 different images"),
        (&different[..], "more than 1000 images"),
        (&vec![good.as_str(); 1001], "more than 1000 images"),
    ] {
        let (allowed, found) = verdict(&client.post("/validate", &review(images)));
        assert!(!allowed && found.contains(told), "{found}");
    }
    let (allowed, told) = verdict(&client.post("/validate", &review(&["\u{1b}[31mred\u{202e}"])));
    assert!(
        !allowed && !told.contains('\u{1b}') && !told.contains('\u{202e}'),
        "{told:?}"
    );
    assert!(server.events("malformed").len() >= 5, "{}", server.log());
    assert!(!server.log().contains('\u{1b}'));
    assert_eq!(server.events("refused").len(), 3);
}

/// Whatever stands in a review of the longest length, little memory is taken for it and for what is told of it.
#[test]
fn long_reviews_take_little_memory() {
    let stage = stage();
    let server = stage.serve(&[]);
    let client = server.client();
    let start = server.peak_memory();
    let pod = |name: &str, containers: &str| {
        review(&[])
            .replace("\"name\":\"p\"", &format!("\"name\":\"{name}\""))
            .replace(
                "\"containers\":[]",
                &format!("\"containers\":[{containers}]"),
            )
    };
    let filled = |element: &str| {
        let count = (MAX_BODY - 1000) / (element.len() + 1);
        pod("p", &vec![element; count].join(","))
    };
    let empty = filled("{}");
    assert!(empty.matches("{}").count() > 2_400_000 && empty.len() <= MAX_BODY);
    let invalid: Vec<String> = (0..500)
        .map(|at| format!("{{\"image\":\"no {at}\"}}"))
        .collect();
    // The name stands in it twice.
    let named = pod(&"x".repeat(3 << 20), &invalid.join(","));
    let bodies = [
        (empty, ""),
        (filled("{\"image\":\"\"}"), "more than 1000 images"),
        (
            filled("{\"name\":\"\",\"image\":\"x\"}"),
            "more than 1000 images",
        ),
        (named, "its name has more than 253 bytes"),
        (
            pod("p", &format!("{{\"image\":\"{}\"}}", "x".repeat(6 << 20))),
            "the image of container 0 has more than 1024 bytes",
        ),
    ];
    let asked: Vec<_> = bodies.iter().cycle().take(4 * bodies.len()).collect();
    // As many as there is room for, so that nobody waits for it.
    at_once(&asked, 4, |(body, why)| {
        let (allowed, told) = verdict(&client.post("/validate?timeout=30s", body));
        assert!(allowed == why.is_empty() && told.contains(why), "{told}");
    });
    let took = server.peak_memory() - start;
    assert!(took < 200 << 10, "{took} KiB more than at the start");
    assert!(server.log().len() < 100_000, "{}", server.log().len());
}

/// The start of a request of this length, all but its last byte.
fn all_but_one(client: &Client, length: usize) -> impl Read + use<> {
    let mut stream = client.open().unwrap();
    let head = format!(
        "POST /validate?timeout=30s HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![b' '; length - 1]).unwrap();
    stream
}

/// Those who have sent all of the longest request but a byte hold the room for all long ones; whoever sends a whole one gets it.
#[test]
fn who_stalls_in_a_long_request_holds_up_nobody() {
    let stage = stage();
    let good = stage.signed("app:v1", "good", "acme");
    let server = stage.serve(&[]);
    let client = server.client();
    let padded = |length: usize| {
        let short = review(&[&good]);
        format!("{}{short}", " ".repeat(length - short.len()))
    };
    // Ready before the first stalls.
    let (long, small) = (padded(MAX_BODY), padded(60 << 10));
    let mut stalled: Vec<_> = (0..8).map(|_| all_but_one(&client, MAX_BODY)).collect();
    assert!(verdict(&client.post("/validate?timeout=10s", &small)).0);
    assert!(verdict(&client.post("/validate?timeout=30s", &long)).0);
    let mut answer = String::new();
    for stream in &mut stalled {
        answer.clear();
        drop(stream.read_to_string(&mut answer));
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    let late = server.events("malformed");
    assert_eq!(late.iter().filter(|line| line["status"] == 408).count(), 8);
}

#[test]
fn slow_clients_and_wrong_tls_hold_nobody_up() {
    let stage = stage();
    let good = stage.signed("app:v1", "good", "acme");
    let server = stage.serve(&[]);
    let silent: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(("127.0.0.1", server.port)).unwrap())
        .collect();
    let mut plain = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    // Headers without end, and a body that does not come.
    let client = server.client();
    let mut half = client.open().unwrap();
    half.write_all(
        b"POST /validate?timeout=1s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    )
    .unwrap();
    let mut drip = client.open().unwrap();
    drip.write_all(b"POST /validate HTTP/1.1\r\nHost: ")
        .unwrap();
    let mut long = client.open().unwrap();
    drop(
        long.write_all(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(1 << 20)).as_bytes()),
    );
    let begun = Instant::now();
    assert!(verdict(&client.post("/validate?timeout=10s", &review(&[&good]))).0);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let mut answer = String::new();
    drop(half.read_to_string(&mut answer));
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let late = server.events("malformed");
    assert!(late.iter().any(|line| line["status"] == 408), "{late:?}");
    // Those that say nothing are gone after a while.
    let begun = Instant::now();
    while server.metric("connections") > 1 {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "{}",
            server.metric("connections")
        );
        thread::sleep(Duration::from_millis(200));
    }
    assert!(server.metric("tls_failures_total") >= 201);
    // Not each of them is told.
    let told = server.events("tls-failed");
    assert!(!told.is_empty() && told.len() < 20, "{told:?}");
    for line in &told {
        let from = line["from"].as_str().unwrap();
        assert!(from.starts_with("127.0.0.1:"), "{line}");
        assert!(!line["error"].as_str().unwrap().is_empty(), "{line}");
    }
    assert_eq!(told[0]["count"], 1, "{told:?}");
    drop(silent);
}

#[test]
fn a_new_certificate_is_served_at_once() {
    let stage = stage();
    let server = stage.serve(&[]);
    assert_eq!(server.client().get("/readyz").body, "ok\n");
    let old = fs::read(stage.bench.path().join(CERTIFICATE)).unwrap();
    // Half of an exchange leaves the old one in force.
    let other = Stage::new(Registry::ggcr().start());
    let copy = |name: &str| {
        fs::copy(other.bench.path().join(name), stage.bench.path().join(name)).unwrap()
    };
    let kept = stage.bench.path().join("old.crt");
    fs::write(&kept, old).unwrap();
    copy(KEY);
    assert_eq!(Client::new(server.port, &kept).get("/readyz").status, 200);
    copy(CERTIFICATE);
    assert_eq!(server.client().get("/readyz").status, 200);
    assert!(
        Client::new(server.port, &kept)
            .send("GET", "/readyz", "", "")
            .is_err()
    );
    assert_eq!(server.events("certificate-unusable").len(), 1);
    assert_eq!(server.events("certificate-loaded").len(), 1);
}

#[test]
fn what_was_begun_is_answered_at_the_end() {
    let stage = stage();
    let good = stage.signed("app:v1", "good", "acme");
    let mut server = stage.serve(&["--drain", "10s"]);
    let client = server.client();
    server.terminate();
    // Until the endpoint is taken out of the service, requests still come.
    let begun = Instant::now();
    while client.get("/readyz").status == 200 {
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    assert!(verdict(&client.post("/validate?timeout=10s", &review(&[&good]))).0);
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert_eq!(server.events("ended").len(), 1);
}

/// Two servers behind Debian's haproxy, one of which is killed under load: no wrong verdict.
#[test]
fn one_of_two_servers_dies() {
    let stage = stage();
    let good = stage.signed("app:v1", "good", "acme");
    let unsigned = stage.image("app:v2", "unsigned");
    let mut servers = [stage.serve(&[]), stage.serve(&[])];
    let port = free_port();
    let config = stage.bench.path().join("haproxy.cfg");
    let backends: String = servers
        .iter()
        .enumerate()
        .map(|(at, server)| {
            format!(
                "  server s{at} 127.0.0.1:{} check inter 100ms fall 1\n",
                server.port
            )
        })
        .collect();
    fs::write(
        &config,
        format!(
            "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 30s\n  timeout server 30s\n  retries 3\n  option redispatch\n\
             listen admission\n  bind 127.0.0.1:{port}\n  balance roundrobin\n{backends}"
        ),
    )
    .unwrap();
    let mut proxy = Command::new(installed("haproxy"))
        .arg("-f")
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        thread::sleep(Duration::from_millis(20));
    }
    let client = Client::new(port, &stage.bench.path().join(CERTIFICATE));
    let asked = AtomicUsize::new(0);
    let broken = AtomicUsize::new(0);
    let rounds: Vec<usize> = (0..600).collect();
    let [first, second] = &mut servers;
    thread::scope(|scope| {
        let killed = scope.spawn(|| {
            while asked.load(Ordering::Relaxed) < 200 {
                thread::sleep(Duration::from_millis(5));
            }
            first.child.kill().unwrap();
            first.child.wait().unwrap();
        });
        at_once(&rounds, 8, |at| {
            let (image, wanted) = if at % 2 == 0 {
                (&good, true)
            } else {
                (&unsigned, false)
            };
            // A connection that breaks is an error to the API server, which is no verdict.
            match client.send(
                "POST",
                "/validate?timeout=10s",
                "application/json",
                &review(&[image]),
            ) {
                Ok(answer) if answer.status == 200 => {
                    assert_eq!(verdict(&answer).0, wanted, "{answer:?}")
                }
                _ => drop(broken.fetch_add(1, Ordering::Relaxed)),
            }
            asked.fetch_add(1, Ordering::Relaxed);
        });
        killed.join().unwrap();
    });
    // Those under way at that moment, and until the proxy has seen it.
    let broken = broken.into_inner();
    assert!(broken < 100, "{broken} of 600 got no verdict");
    assert!(second.events("verdict").len() > 200);
    drop(proxy.kill());
    drop(proxy.wait());
}
