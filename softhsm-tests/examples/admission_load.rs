//! How long the admission server takes, and whether its memory stays: `admission_load [REQUESTS]`, as `scripts/bench-admission`
//! calls it. A registry in memory on the same machine, so that "cold" is what verification itself takes, with three
//! requests in a row to a registry that answers at once.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement prints, and its failure is its answer"
)]

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{BufReader, Write as _};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    use softhsm_tests::admission::{Client, Stage, review};
    use softhsm_tests::peers::registry::Registry;

    const COLD: usize = 500;
    const THREADS: usize = 8;

    pub(super) fn main() {
        let requests = std::env::args()
            .nth(1)
            .map_or(100_000, |text| text.parse().unwrap());
        let stage = Stage::new(Registry::olareg().start());
        let images: Vec<String> = (0..COLD)
            .map(|at| stage.image(&format!("load:v{at}"), &at.to_string()))
            .collect();
        stage.sign(&images, "acme");
        let server = stage.serve(&[]);
        let bodies: Vec<String> = images.iter().map(|image| review(&[image])).collect();
        let cold = run(&server.client(), &bodies, COLD, 1);
        tell("cold, one at a time", cold);
        let warm = run(&server.client(), &bodies, 2000, 1);
        tell("cached, one at a time", warm);
        let many = run(&server.client(), &bodies, requests / 10, THREADS);
        tell("cached, eight at a time", many);
        let before = server.memory();
        let begun = Instant::now();
        let long = run(&server.client(), &bodies, requests, THREADS);
        let took = begun.elapsed();
        tell(&format!("{requests} requests, eight at a time"), long);
        let after = server.memory();
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let rate = requests as f64 / took.as_secs_f64();
        println!("{rate:.0} requests a second; resident {before} KiB before, {after} KiB after");
        assert!(after < before + before / 4, "memory grows");
    }

    /// The times of that many requests, each of which must be allowed.
    fn run(client: &Client, bodies: &[String], requests: usize, threads: usize) -> Vec<Duration> {
        let (next, times) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut stream = BufReader::new(client.open().unwrap());
                    let mut own = Vec::new();
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at >= requests {
                            break;
                        }
                        let body = &bodies[at % bodies.len()];
                        let begun = Instant::now();
                        let head = format!(
                            "POST /validate?timeout=10s HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
                            body.len()
                        );
                        stream.get_mut().write_all((head + body).as_bytes()).unwrap();
                        let answer = answer(&mut stream);
                        own.push(begun.elapsed());
                        assert!(answer.contains("\"allowed\":true"), "{answer}");
                    }
                    times.lock().unwrap().extend(own);
                });
            }
        });
        times.into_inner().unwrap()
    }

    fn answer(stream: &mut impl std::io::BufRead) -> String {
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            stream.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" || line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }

    fn tell(what: &str, mut times: Vec<Duration>) {
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
        println!(
            "{what}: p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
            at(50),
            at(99),
            at(100)
        );
    }
}
