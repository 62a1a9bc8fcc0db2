//! docs/kubernetes, applied to a real API server as docs/kubernetes.md says (`softhsm_tests::manifests`).

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test: failing is its answer"
)]

use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use softhsm_tests::admission::Answer;
use softhsm_tests::kubernetes::{Kubernetes, pod};
use softhsm_tests::manifests::{DEPLOYMENT, Installed, SYSTEM, commands, inline};
use softhsm_tests::pages;
use softhsm_tests::peers::program;
use softhsm_tests::peers::registry::Registry;

const NO_SIGNATURE: &str = "no signature is associated";
const NO_DIGEST: &str = "every image must be named by digest";

fn refused(answer: &Answer, told: &str) {
    assert!(
        matches!(answer.status, 403 | 422) && answer.body.contains(told),
        "{told}: {answer:?}"
    );
}

fn admitted(answer: &Answer) {
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
}

fn tag_of(reference: &str, tag: &str) -> String {
    format!("{}:{tag}", reference.split_once('@').unwrap().0)
}

/// The server first: until the page's last step pods are made without it, and from then on none is refused for want of an answer.
/// Each webhook has the CA's certificate at once, that for tags included.
#[test]
fn the_webhooks_come_last() {
    let installed = Installed::new(&["app"]);
    installed.uncomment("webhooks/kustomization.yaml", "mutating.yaml");
    installed.kubernetes.namespace("shop", &json!({}));
    let unsigned = installed.stage.image("app:v1", "unsigned");
    installed.apply_server();
    assert_eq!(installed.registered(), Vec::<Value>::new());
    admitted(&installed.make("shop", &pod("early", &unsigned)));
    // Without the certificate nothing is registered either.
    installed.say_ready();
    let ran = installed.run(&commands("The webhooks").remove(0));
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert_eq!(installed.registered(), Vec::<Value>::new());
    installed.certificate_by_openssl();
    let server = installed.serve();
    admitted(&installed.make("shop", &pod("between", &unsigned)));

    installed.apply_webhooks();
    let registered = installed.registered();
    assert_eq!(registered.len(), 3, "{registered:?}");
    let ca = STANDARD.encode(fs::read(installed.root.path().join("ca.crt")).unwrap());
    for configuration in &registered {
        for webhook in configuration["webhooks"].as_array().unwrap() {
            let config = &webhook["clientConfig"];
            assert_eq!(config["caBundle"], ca, "{configuration}");
            assert_eq!(config["service"]["name"], "hardsign-admission");
        }
    }
    installed.await_calls(&server);
    // A second time makes nothing anew.
    let (server, webhooks) = (installed.apply_server(), installed.apply_webhooks());
    for (again, objects) in [(server, 10), (webhooks, 5)] {
        assert!(
            again.lines().count() >= objects && !again.contains(" created"),
            "{again}"
        );
    }
    assert_eq!(installed.get(DEPLOYMENT)["metadata"]["generation"], 1);
}

/// What the manifests make: the pods of the Deployment may run where they are to, and the server may read no more than it has to.
#[test]
fn the_server_may_do_little() {
    let installed = Installed::new(&["app"]);
    installed.apply_server();
    for object in [
        "networkpolicy/hardsign-admission",
        "poddisruptionbudget/hardsign-admission",
        "service/hardsign-admission",
        "configmap/hardsign-policy",
        "configmap/hardsign-stores",
    ] {
        installed.ok(&format!("kubectl -n hardsign-system get {object}"));
    }
    let deployment = installed.get(DEPLOYMENT);
    let mut template = deployment["spec"]["template"].clone();
    assert!(
        template["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap()
            .starts_with("registry.example.com/hardsign:")
    );
    template["metadata"]["name"] = json!("server");
    admitted(&installed.try_out("hardsign-system", &template));
    let may = |what: &str| {
        let asked = format!(
            "kubectl auth can-i {what} --as system:serviceaccount:hardsign-system:hardsign-admission"
        );
        installed.run(&asked).stdout.trim() == "yes"
    };
    assert!(may("get namespaces"));
    for what in ["list namespaces", "get secrets -n default", "create pods"] {
        assert!(!may(what), "{what}");
    }
}

/// The way from `audit` to `enforce`.
#[test]
fn rolled_out_by_the_page() {
    let installed = Installed::new(&["app"]);
    let server = installed.install();
    let (kubernetes, stage) = (&installed.kubernetes, &installed.stage);
    // Audit: all is admitted, and the log says what would not be.
    kubernetes.namespace("shop", &json!({}));
    let good = stage.signed("app:v1", "good", "acme");
    let unsigned = stage.image("app:v2", "unsigned");
    let answer = installed.make("shop", &pod("audited", &unsigned));
    admitted(&answer);
    assert!(!answer.headers.contains("warning:"), "{}", answer.headers);
    // A repository of which the policy says nothing.
    let stranger = stage.image("stranger:v1", "stranger");
    admitted(&installed.make("shop", &pod("stranger", &stranger)));
    let list = inline("kubectl -n hardsign-system logs");
    let (_, jq) = list.split_once("| ").unwrap();
    installed.until("the log has both", || {
        fs::write(installed.root.path().join("log"), server.log()).unwrap();
        let listed = installed.ok(&format!("cat log | {jq}"));
        listed.contains(&unsigned) && listed.contains("no signature") && listed.contains(&stranger)
    });

    // Warn, then enforce; workloads are warned about in both.
    installed.ok(&inline("kubectl label namespace shop"));
    installed.until("the label counts", || {
        let answer = installed.try_out("shop", &pod("warned", &unsigned));
        admitted(&answer);
        answer.headers.contains("hardsign would refuse")
    });
    installed.ok(&inline("kubectl label --overwrite namespace shop"));
    installed.until("the label counts", || {
        installed.try_out("shop", &pod("late", &unsigned)).status == 403
    });
    refused(
        &installed.make("shop", &pod("refused", &unsigned)),
        NO_SIGNATURE,
    );
    admitted(&installed.make("shop", &pod("good", &good)));
    for (path, object) in workloads(&unsigned) {
        let answer = kubernetes.admin.post(path, &object.to_string());
        admitted(&answer);
        assert!(
            answer.headers.contains("hardsign would refuse"),
            "{path}: {answer:?}"
        );
    }
    let path = "/api/v1/namespaces/shop/pods/audited";
    admitted(&kubernetes.patch(path, &json!({"metadata": {"labels": {"old": "yes"}}})));
    admitted(&kubernetes.delete(path));
}

/// One object of each shape from which pods are made, in the namespace `shop`; each is named `x`.
fn workloads(image: &str) -> Vec<(&'static str, Value)> {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "app", "image": image}]}});
    let mut job = template.clone();
    job["spec"]["restartPolicy"] = json!("Never");
    let selector = json!({"matchLabels": {"a": "b"}});
    vec![
        (
            "/api/v1/namespaces/shop/podtemplates",
            json!({"metadata": {"name": "x"}, "template": template}),
        ),
        (
            "/api/v1/namespaces/shop/replicationcontrollers",
            json!({"metadata": {"name": "x"}, "spec": {"selector": {"a": "b"}, "template": template}}),
        ),
        (
            "/apis/apps/v1/namespaces/shop/statefulsets",
            json!({"metadata": {"name": "x"}, "spec": {"selector": selector, "serviceName": "x", "template": template}}),
        ),
        (
            "/apis/apps/v1/namespaces/shop/deployments",
            json!({"metadata": {"name": "x"}, "spec": {"selector": selector, "template": template}}),
        ),
        (
            "/apis/batch/v1/namespaces/shop/cronjobs",
            json!({"metadata": {"name": "x"}, "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": job}}}}),
        ),
    ]
}

#[test]
fn out_and_back_with_openssl() {
    out_and_back(Installed::certificate_by_openssl);
}

#[test]
fn out_and_back_with_cert_manager() {
    out_and_back(Installed::certificate_by_cert_manager);
}

/// The server is down after all has been turned on, tags that become digests included: what is there can be labelled and let go;
/// the page's way out lets pods in, and its way back has them asked about again.
fn out_and_back(certificate: fn(&Installed)) {
    let installed = Installed::new(&["app"]);
    installed.uncomment("webhooks/kustomization.yaml", "mutating.yaml");
    installed.apply_server();
    certificate(&installed);
    let server = installed.serve();
    installed.say_ready();
    installed.apply_webhooks();
    installed.await_calls(&server);
    let (kubernetes, stage) = (&installed.kubernetes, &installed.stage);
    kubernetes.namespace("shop", &json!({"hardsign.dev/mode": "enforce"}));
    let good = stage.signed("app:v1", "good", "acme");
    let unsigned = stage.image("app:v2", "unsigned");
    let both = |name: &str| {
        installed.until("tags become digests", || {
            let answer = installed.try_out("shop", &pod(name, &tag_of(&good, "v1")));
            assert!(!answer.body.contains("failed calling"), "{answer:?}");
            answer.status == 201
        });
        let answer = installed.make("shop", &pod(name, &tag_of(&good, "v1")));
        admitted(&answer);
        let image = answer.json()["spec"]["containers"][0]["image"].clone();
        assert_eq!(image, good.as_str());
        refused(
            &installed.make("shop", &pod("bad", &unsigned)),
            NO_SIGNATURE,
        );
    };
    both("first");
    for (path, object) in workloads(&good) {
        admitted(&kubernetes.admin.post(path, &object.to_string()));
    }

    server.terminate();
    installed.until("the server is down", || {
        installed.try_out("shop", &pod("down", &good)).status == 500
    });
    life_goes_on(kubernetes, &unsigned);
    installed.ok(&commands("When it is down").remove(0));
    assert_eq!(installed.registered(), Vec::<Value>::new());
    installed.until("pods are made without the server", || {
        installed.try_out("shop", &pod("out", &unsigned)).status == 201
    });
    admitted(&installed.make("shop", &pod("out", &unsigned)));

    let server = installed.serve();
    installed.ok(&commands("When it is down").remove(1));
    assert_eq!(installed.registered().len(), 3);
    installed.await_calls(&server);
    installed.until("the pods' webhook is called", || {
        let answer = installed.try_out("shop", &pod("back", &unsigned));
        assert!(!answer.body.contains("failed calling"), "{answer:?}");
        answer.status == 403
    });
    both("second");
}

/// With the server down: pods get labels, lose finalizers and go, and nobody is asked about workloads whose pods stay as they are.
fn life_goes_on(kubernetes: &Kubernetes, other: &str) {
    let path = "/api/v1/namespaces/shop/pods/first";
    admitted(&kubernetes.patch(
        path,
        &json!({"metadata": {"labels": {"seen": "yes"}, "finalizers": ["example.com/tracked"]}}),
    ));
    admitted(&kubernetes.delete(path));
    assert_eq!(kubernetes.admin.get(path).status, 200, "it has a finalizer");
    admitted(&kubernetes.patch(
        path,
        &json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/tracked"]}}),
    ));
    assert_eq!(kubernetes.admin.get(path).status, 404);

    let asked = || {
        let metrics = kubernetes.admin.get("/metrics").body;
        let mut lines = metrics.lines().filter(|line| {
            line.starts_with("apiserver_admission_webhook_fail_open_count")
                && line.contains("workloads.hardsign.dev")
        });
        let figure = lines.next().and_then(|line| line.rsplit(' ').next());
        figure.map_or(0, |figure| figure.parse::<u32>().unwrap())
    };
    let mut before = asked();
    for (path, object) in workloads(other) {
        let path = format!("{path}/x");
        admitted(&kubernetes.patch(&path, &json!({"metadata": {"labels": {"seen": "yes"}}})));
        if object["spec"]["template"].is_object() {
            admitted(&kubernetes.patch(&path, &json!({"spec": {"replicas": 0}})));
        }
        assert_eq!(asked(), before, "{path}: its pods are the same");
        let change = match object.get("spec") {
            None => json!({"template": object["template"]}),
            Some(spec) if spec["template"].is_object() => {
                json!({"spec": {"template": spec["template"]}})
            }
            Some(spec) => json!({"spec": {"jobTemplate": spec["jobTemplate"]}}),
        };
        admitted(&kubernetes.patch(&path, &change));
        assert!(asked() > before, "{path}: it has another image");
        before = asked();
    }
}

/// A renewal by cert-manager leaves the CA as it was: the webhooks' caBundle is right before the kubelet brings the new certificate and
/// after it.
#[test]
fn a_renewed_certificate() {
    let installed = Installed::new(&["app"]);
    installed.apply_server();
    installed.certificate_by_cert_manager();
    let server = installed.serve();
    installed.say_ready();
    installed.apply_webhooks();
    installed.await_calls(&server);
    installed
        .kubernetes
        .namespace("shop", &json!({"hardsign.dev/mode": "enforce"}));
    let unsigned = installed.stage.image("app:v1", "unsigned");
    let secret = format!("{SYSTEM}/secrets/hardsign-admission-tls");
    let before = installed.get(&secret)["data"].clone();
    installed.issue(&["hardsign-admission"]);
    let after = installed.get(&secret)["data"].clone();
    assert_ne!(before["tls.crt"], after["tls.crt"]);
    // cert-manager puts the CA of this secret into whatever asks for it.
    for configuration in installed.registered() {
        let from = &configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
        assert_eq!(from, "hardsign-system/hardsign-admission");
        let bundle = &configuration["webhooks"][0]["clientConfig"]["caBundle"];
        assert_eq!(*bundle, after["ca.crt"]);
    }
    refused(
        &installed.make("shop", &pod("old", &unsigned)),
        NO_SIGNATURE,
    );
    installed.bring("tls");
    drop(server);
    let _new = installed.serve();
    refused(
        &installed.make("shop", &pod("new", &unsigned)),
        NO_SIGNATURE,
    );
}

/// The page's own example: an image comes in with a signed SBOM and a signed scan result, and not without.
#[test]
fn a_scan_and_an_sbom_by_the_page() {
    let installed = Installed::new(&["app"]);
    let (kubernetes, stage) = (&installed.kubernetes, &installed.stage);
    for command in [
        "key create scanner --plugin local --id ./scanner.key --type EC-256",
        "key certify scanner --days 30 --subject C=US,ST=WA,O=Acme,CN=scanner",
        "key export-cert scanner --out scanner.pem",
    ] {
        stage.bench.hardsign_ok(command.split(' '));
    }
    let server = installed.install();
    kubernetes.namespace("shop", &json!({"hardsign.dev/mode": "enforce"}));
    let image = stage.signed("app:v1", "good", "acme");
    installed.until("the image is admitted without the rule", || {
        installed.try_out("shop", &pod("before", &image)).status == 201
    });

    // The rule alone: its store is missing, and nothing is admitted by half of a policy.
    fs::write(
        installed.file("server/policy/policy.hardsign.json"),
        block("\"attached\""),
    )
    .unwrap();
    installed.apply_server();
    installed.bring("policy");
    refused(
        &installed.make("shop", &pod("rule", &image)),
        "application/spdx+json",
    );
    // The scanner's certificate, as the comments have it; the Deployment makes new pods.
    fs::copy(
        stage.bench.path().join("scanner.pem"),
        installed.file("server/policy/scanner.pem"),
    )
    .unwrap();
    installed.uncomment("server/kustomization.yaml", "scanner");
    installed.uncomment("server/deployment.yaml", "scanner");
    installed.apply_server();
    server.terminate();
    drop(server);
    let server = installed.serve();
    refused(
        &installed.make("shop", &pod("none", &image)),
        "application/spdx+json",
    );
    fs::write(stage.bench.path().join("sbom.json"), "{}").unwrap();
    fs::write(stage.bench.path().join("scan.json"), "{}").unwrap();
    let attach = |kind: &str, key: &str, file: &str| {
        stage
            .bench
            .hardsign_ok(["attach", "--type", kind, "--key", key, file, &image]);
    };
    attach("application/spdx+json", "acme", "sbom.json");
    // The signer of the image can't sign its scan.
    attach("application/sarif+json", "acme", "scan.json");
    installed.until("the SBOM counts", || {
        let answer = installed.make("shop", &pod("half", &image));
        refused(&answer, "application/s");
        answer.body.contains("application/sarif+json")
    });
    attach("application/sarif+json", "scanner", "scan.json");
    installed.until("the scan counts", || {
        installed.make("shop", &pod("whole", &image)).status == 201
    });
    assert!(server.events("policy-unusable").is_empty());
}

/// The API server demands digests by itself, while the webhook that may fail open has nobody to ask: where a label says
/// `enforce`, and at the end everywhere; but for what is excepted by tag.
#[test]
fn the_net_below() {
    let installed = Installed::new(&["app"]);
    let (kubernetes, stage) = (&installed.kubernetes, &installed.stage);
    installed.apply_server();
    installed.certificate_by_openssl();
    installed.say_ready();
    installed.change(
        "webhooks/pods.yaml",
        "failurePolicy: Fail",
        "failurePolicy: Ignore",
    );
    installed.apply_webhooks();
    kubernetes.namespace("shop", &json!({"hardsign.dev/mode": "enforce"}));
    kubernetes.namespace("plain", &json!({}));
    let image = stage.image("app:v1", "any");
    let tag = tag_of(&image, "v1");
    installed.until("the policy counts", || {
        installed.try_out("shop", &pod("probe", &tag)).status == 422
    });
    refused(&installed.make("shop", &pod("tag", &tag)), NO_DIGEST);
    for (member, images) in [
        ("initContainers", json!([{"name": "i", "image": tag}])),
        (
            "volumes",
            json!([{"name": "v", "image": {"reference": tag}}]),
        ),
    ] {
        let mut other = pod("other", &image);
        other["spec"][member] = images;
        refused(&installed.make("shop", &other), NO_DIGEST);
    }
    admitted(&installed.make("shop", &pod("digest", &image)));
    admitted(&installed.make("plain", &pod("old", &tag)));

    // The end of the roll-out.
    installed.uncomment("webhooks/kustomization.yaml", "digests-everywhere");
    installed.apply_webhooks();
    installed.until("the policy counts everywhere", || {
        installed.try_out("plain", &pod("probe", &tag)).status == 422
    });
    admitted(&installed.make("plain", &pod("digest", &image)));
    // What was there before lives on, and can be debugged by digest.
    let old = "/api/v1/namespaces/plain/pods/old";
    admitted(&kubernetes.patch(old, &json!({"metadata": {"labels": {"seen": "yes"}}})));
    let debug =
        |image: &str| json!({"spec": {"ephemeralContainers": [{"name": "d", "image": image}]}});
    let ephemeral = format!("{old}/ephemeralcontainers");
    refused(
        &kubernetes.patch(&ephemeral, &debug(&tag_of(&image, "v2"))),
        NO_DIGEST,
    );
    admitted(&kubernetes.patch(&ephemeral, &debug(&image)));
    exceptions_by_tag(&installed);
}

/// Exceptions have the forms of `admission.hardsign.json`.
fn exceptions_by_tag(installed: &Installed) {
    installed.change(
        "webhooks/digests.yaml",
        "      []\n",
        "      [\"registry.example.com/legacy/*\", \"registry.example.com/one\", \"registry.example.com/two:v1\"]\n",
    );
    installed.apply_webhooks();
    let tried = |image: &str| {
        installed.try_out("plain", &pod("x", &format!("registry.example.com/{image}")))
    };
    installed.until("the exceptions count", || tried("two:v1").status == 201);
    for image in ["legacy/app:v1", "legacy/deep/app:v1", "one:v7", "one"] {
        admitted(&tried(image));
    }
    for image in [
        "legacy:v1",
        "legacies/app:v1",
        "onelse:v1",
        "two:v2",
        "two:v11",
        "two",
        "x/one:v1",
        "one:5000/app:v1",
    ] {
        refused(&tried(image), NO_DIGEST);
    }
}

/// A Role of `pull-secrets.yaml` lets the server read one secret of one namespace.
#[test]
fn pull_secrets_by_the_manifest() {
    let installed = Installed::new(&[]);
    let (kubernetes, stage) = (&installed.kubernetes, &installed.stage);
    let private = Registry::ggcr().basic_auth().start();
    let (user, password) = private.credentials().unwrap();
    let image = private.push("team/app:v1", b"private");
    installed.scopes([format!("{}/team/app", private.host())].into_iter());
    let server = installed.install();
    for namespace in ["shop", "lab"] {
        kubernetes.namespace(namespace, &json!({"hardsign.dev/mode": "enforce"}));
    }
    stage
        .bench
        .hardsign_ok(["sign", "--key", "acme", "-u", user, "-p", password, &image]);
    // As the kubelet reads it: another team's entry comes first, and the more particular one counts.
    let entry = |login: String| json!({"auth": STANDARD.encode(login)});
    let config = json!({"auths": {
        format!("{}/other", private.host()): entry("other:wrong".to_owned()),
        private.host(): entry("all:wrong".to_owned()),
        format!("{}/team", private.host()): entry(format!("{user}:{password}")),
    }});
    fs::write(
        installed.root.path().join("config.json"),
        config.to_string(),
    )
    .unwrap();
    for (namespace, name) in [("shop", "registry"), ("shop", "spare"), ("lab", "registry")] {
        installed.ok(&format!(
            "kubectl -n {namespace} create secret generic {name} --type kubernetes.io/dockerconfigjson --from-file .dockerconfigjson=config.json"
        ));
    }
    let with = |secret: &str| {
        let mut private = pod("private", &image);
        private["spec"]["imagePullSecrets"] = json!([{"name": secret}]);
        private
    };
    installed.until("the webhook is called", || {
        installed.try_out("shop", &with("registry")).status == 403
    });
    refused(
        &installed.make("shop", &with("registry")),
        "credential required",
    );
    // The ConfigMap is changed, as its owner would, and the kubelet brings it.
    installed.change(
        "server/policy/admission.hardsign.json",
        "\"mode\"",
        "\"pullSecrets\": true,\n  \"mode\"",
    );
    let changed = installed.apply_server();
    assert!(
        changed.contains("configmap/hardsign-policy configured"),
        "{changed}"
    );
    installed.bring("policy");
    refused(
        &installed.make("shop", &with("registry")),
        "credential required",
    );
    // The namespace opts in.
    installed.ok("kubectl apply -f docs/kubernetes/pull-secrets.yaml");
    installed.until("the Role counts", || {
        installed.try_out("shop", &with("registry")).status == 201
    });
    admitted(&installed.make("shop", &with("registry")));
    for (namespace, secret) in [("shop", "spare"), ("lab", "registry")] {
        refused(
            &installed.make(namespace, &with(secret)),
            "credential required",
        );
    }
    assert!(!server.log().contains(password));
    assert!(server.events("policy-unusable").is_empty());
}

/// The block of the page that has this.
fn block(has: &str) -> String {
    let page = pages::text("docs/kubernetes.md");
    let mut blocks = pages::blocks(&page)
        .into_iter()
        .map(|block| block.lines.join("\n"));
    blocks
        .find(|text| text.contains(has))
        .unwrap_or_else(|| panic!("{has}"))
}

/// The Deployment takes the page's mounts and environment for a credential helper beside its own.
#[test]
fn a_workload_identity_by_the_page() {
    let installed = Installed::new(&["app"]);
    installed.apply_server();
    fs::write(
        installed.root.path().join("identity.yaml"),
        block("AWS_ROLE_ARN"),
    )
    .unwrap();
    let names = |list: &Value| {
        let names = list
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].clone());
        names.collect::<Vec<_>>()
    };
    let before = installed.get(DEPLOYMENT)["spec"]["template"]["spec"].clone();
    installed.ok(&inline("kubectl -n hardsign-system patch deployment"));
    let after = installed.get(DEPLOYMENT)["spec"]["template"]["spec"].clone();
    for (member, added) in [
        ("/volumes", 1),
        ("/containers/0/volumeMounts", 1),
        ("/containers/0/env", 3),
    ] {
        let [before, after] = [&before, &after].map(|spec| names(spec.pointer(member).unwrap()));
        assert_eq!(after.len(), before.len() + added, "{member}: {after:?}");
        assert!(before.iter().all(|name| after.contains(name)), "{member}");
    }
}

/// Gatekeeper waits no shorter than the server is told that it does.
#[test]
fn gatekeepers_two_times_are_one() {
    let provider = block("kind: Provider");
    let value = |start: &str| {
        let mut lines = provider.lines().map(str::trim);
        lines
            .find_map(|line| line.strip_prefix(start))
            .unwrap()
            .trim()
            .to_owned()
    };
    let (_, told) = value("url:")
        .split_once("/verify?timeout=")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert_eq!(told, format!("{}s", value("timeout:")));
}

/// `scripts/image --add`: a plugin in a directory of its own, other programs in `PATH`; what could not start there is refused. Programs
/// in Go stand for all.
#[test]
fn the_image_takes_further_programs() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    for (name, of) in [
        ("hardsign", "notation-framework"),
        ("notation-acme", "notation-go-example"),
        ("docker-credential-acme", "verdicts"),
    ] {
        fs::copy(program(of), at(name)).unwrap();
    }
    fs::write(at("script"), "#!/bin/sh\n").unwrap();
    let image = |added: &[&str]| {
        let mut command = Command::new(pages::root().join("scripts/image"));
        command.arg("--executable").arg(at("hardsign"));
        for name in added {
            command.arg("--add").arg(at(name));
        }
        command.arg(at("image")).output().unwrap()
    };
    let plain = image(&[]);
    let made = image(&["notation-acme", "docker-credential-acme"]);
    assert!(
        made.status.success() && plain.status.success(),
        "{made:?} {plain:?}"
    );
    assert_ne!(made.stdout, plain.stdout);
    // The same programs make the same image.
    assert_eq!(
        image(&["notation-acme", "docker-credential-acme"]).stdout,
        made.stdout
    );
    let read = |digest: &Value| {
        let hex = digest
            .as_str()
            .unwrap()
            .split_once(':')
            .unwrap()
            .1
            .to_owned();
        at("image/blobs/sha256").join(hex)
    };
    let parsed = |path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let index = parsed(at("image/index.json"));
    let manifest = parsed(read(&index["manifests"][0]["digest"]));
    let layer = read(&manifest["layers"][0]["digest"]);
    let listed = softhsm_tests::run(Command::new("tar").arg("-tvzf").arg(layer));
    let listed = String::from_utf8(listed.stdout).unwrap();
    for file in [
        "etc/ssl/certs/ca-certificates.crt",
        "usr/bin/docker-credential-acme",
        "usr/bin/hardsign",
        "usr/libexec/notation/plugins/acme/notation-acme",
    ] {
        let line = listed
            .lines()
            .find(|line| line.ends_with(&format!(" {file}")));
        let line = line.unwrap_or_else(|| panic!("{file}: {listed}"));
        assert!(line.starts_with("-r") && line.contains(" 0/0 "), "{line}");
        assert_eq!(
            line.starts_with("-rwxr-xr-x"),
            !file.ends_with(".crt"),
            "{line}"
        );
    }
    let config = parsed(read(&manifest["config"]["digest"]));
    let environment = config["config"]["Env"].as_array().unwrap();
    assert!(environment.contains(&json!("NOTATION_LIBEXEC=/usr/libexec/notation")));
    for (name, told) in [
        ("script", "is no executable for Linux"),
        ("hardsign", "would take the place of"),
        ("missing", "missing"),
    ] {
        let made = image(&[name]);
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(
            !made.status.success() && said.contains(told),
            "{name}: {made:?}"
        );
    }
    let dynamic = softhsm_tests::binaries().join("hardsign");
    let mut command = Command::new(pages::root().join("scripts/image"));
    let made = command
        .arg("--executable")
        .arg(dynamic)
        .arg(at("image"))
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&made.stderr).contains("not linked statically"),
        "{made:?}"
    );
}
