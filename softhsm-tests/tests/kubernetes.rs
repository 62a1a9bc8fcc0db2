//! The admission server, asked by a real kube-apiserver; the manifests of docs/kubernetes as it reads them; and the
//! Kubernetes login of the Vault and OpenBao plugin against it.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test: failing is its answer"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_test_support::revocation::Publisher;
use serde_json::{Value, json};
use softhsm_tests::admission::{Answer, Client, Server, Stage};
use softhsm_tests::authority::Authority;
use softhsm_tests::kubernetes::{Kubernetes, pod};
use softhsm_tests::openbao::OpenBao;
use softhsm_tests::peers::registry::{CERTIFICATE, KEY, Registry};
use softhsm_tests::workbench::Workbench;

const PODS: &str = "/api/v1/namespaces/shop/pods";

/// A cluster whose pods and Deployments are asked about.
struct Cluster {
    kubernetes: Kubernetes,
    stage: Stage,
    server: Server,
}

impl Cluster {
    fn new(registry: Registry) -> Self {
        Self::with(registry, &[])
    }

    /// The server has further flags.
    fn with(registry: Registry, more: &[&str]) -> Self {
        let kubernetes = Kubernetes::start();
        kubernetes.namespace("shop", &json!({}));
        kubernetes.namespace("hardsign", &json!({}));
        kubernetes.service_account("hardsign", "admission");
        kubernetes.create(
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            &json!({
                "metadata": {"name": "read-namespaces"},
                "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}],
            }),
        );
        kubernetes.bind("read-namespaces", "hardsign", "admission");
        let (_, token) = kubernetes.token("hardsign", "admission", &[]);
        let stage = Stage::new(registry);
        let (url, ca) = (
            kubernetes.url(),
            kubernetes.certificate().display().to_string(),
        );
        let token = token.display().to_string();
        let fixed = ["--api-server", &url, "--api-ca", &ca, "--api-token", &token];
        let server = stage.serve(&[fixed.as_slice(), more].concat());
        let cluster = Self {
            kubernetes,
            stage,
            server,
        };
        cluster.register();
        cluster
    }

    /// As docs/kubernetes registers them, but by address: there are no Services here.
    fn register(&self) {
        let bundle = STANDARD.encode(fs::read(self.stage.bench.path().join(CERTIFICATE)).unwrap());
        let webhook = |path: &str, selector: Value, rules: Value| {
            json!({
                "metadata": {"name": format!("hardsign-{path}")},
                "webhooks": [{
                    "name": format!("{path}.hardsign.dev"),
                    "clientConfig": {"url": format!("https://localhost:{}/{path}", self.server.port), "caBundle": bundle},
                    "rules": rules, "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": 10,
                    "admissionReviewVersions": ["v1"], "objectSelector": selector,
                }],
            })
        };
        let pods = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["pods", "pods/ephemeralcontainers"]});
        let workloads = json!({"apiGroups": ["apps", "batch"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments", "cronjobs"]});
        let registration = "/apis/admissionregistration.k8s.io/v1";
        self.kubernetes.create(
            &format!("{registration}/mutatingwebhookconfigurations"),
            &webhook(
                "mutate",
                json!({"matchLabels": {"tags": "pinned"}}),
                json!([pods]),
            ),
        );
        self.kubernetes.create(
            &format!("{registration}/validatingwebhookconfigurations"),
            &webhook("validate", json!({}), json!([pods, workloads])),
        );
        // The API server learns of them a moment later.
        let unsigned = self.stage.image("probe:v1", "probe");
        for _ in 0..100 {
            if self.dry_run(&pod("probe", &unsigned)).status == 403 {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("the webhook is not called: {}", self.server.log());
    }

    fn make(&self, pod: &Value) -> Answer {
        self.kubernetes.admin.post(PODS, &pod.to_string())
    }

    fn dry_run(&self, pod: &Value) -> Answer {
        self.kubernetes
            .admin
            .post(&format!("{PODS}?dryRun=All"), &pod.to_string())
    }
}

fn refused(answer: &Answer, told: &str) {
    assert_eq!(answer.status, 403, "{answer:?}");
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("denied the request") && message.contains(told),
        "{told}: {message}"
    );
}

fn admitted(answer: &Answer) {
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
}

#[test]
fn a_real_api_server_asks() {
    let cluster = Cluster::new(Registry::ggcr().start());
    let (kubernetes, stage) = (&cluster.kubernetes, &cluster.stage);
    let good = stage.signed("app:v1", "good", "acme");
    let second = stage.signed("app:v2", "second", "acme");
    let unsigned = stage.image("app:v3", "unsigned");
    let nothing = "no signature is associated";

    // Made.
    admitted(&cluster.make(&pod("good", &good)));
    let answer = cluster.make(&pod("bad", &unsigned));
    refused(&answer, nothing);
    refused(&answer, &format!("`hardsign verify {unsigned}`"));
    refused(&cluster.dry_run(&pod("bad", &unsigned)), nothing);
    admitted(&cluster.dry_run(&pod("dry", &good)));
    let mut other = pod("other", &good);
    other["spec"]["initContainers"] = json!([{"name": "init", "image": unsigned}]);
    refused(&cluster.make(&other), "init container init");
    let mut other = pod("other", &good);
    other["spec"]["volumes"] = json!([{"name": "models", "image": {"reference": unsigned}}]);
    refused(&cluster.make(&other), "image volume models");

    // Changed.
    let path = format!("{PODS}/good");
    let image = |image: &str| json!({"spec": {"containers": [{"name": "app", "image": image}]}});
    refused(&kubernetes.patch(&path, &image(&unsigned)), nothing);
    admitted(&kubernetes.patch(&path, &image(&second)));
    // `kubectl debug`.
    let debug =
        |image: &str| json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": image}]}});
    let ephemeral = format!("{path}/ephemeralcontainers");
    refused(
        &kubernetes.patch(&ephemeral, &debug(&unsigned)),
        "ephemeral container debug",
    );
    admitted(&kubernetes.patch(&ephemeral, &debug(&good)));

    // A tag, by itself and as a digest.
    let tag = format!("{}:v1", good.split_once('@').unwrap().0);
    refused(&cluster.make(&pod("tag", &tag)), "without a digest");
    let mut tagged = pod("tag", &tag);
    tagged["metadata"]["labels"] = json!({"tags": "pinned"});
    let answer = cluster.make(&tagged);
    admitted(&answer);
    assert_eq!(
        answer.json()["spec"]["containers"][0]["image"],
        good.as_str()
    );
    assert!(
        answer.headers.contains("warning: 299") && answer.headers.contains("is now"),
        "{}",
        answer.headers
    );
    tagged["spec"]["containers"][0]["image"] = json!(tag.replace(":v1", ":v3"));
    refused(&cluster.make(&tagged), nothing);

    // Workloads are warned about, or refused by setting.
    let deployment = |name: &str| {
        json!({
            "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": {"app": "x"}},
                "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "app", "image": unsigned}]}},
            },
        })
        .to_string()
    };
    let deployments = "/apis/apps/v1/namespaces/shop/deployments";
    let answer = kubernetes.admin.post(deployments, &deployment("warned"));
    admitted(&answer);
    assert!(
        answer.headers.contains("hardsign would refuse"),
        "{}",
        answer.headers
    );
    stage.settings(&json!({"workloads": "refuse"}));
    refused(
        &kubernetes.admin.post(deployments, &deployment("refused")),
        nothing,
    );

    // The signer is trusted no longer: nothing new, and what is there can be labelled and torn down.
    stage.trust("stranger");
    refused(
        &cluster.make(&pod("late", &good)),
        "does not contain any trusted certificate",
    );
    admitted(&kubernetes.patch(&path, &json!({"metadata": {"labels": {"seen": "yes"}}})));
    admitted(&kubernetes.delete(&path));
    stage.trust("acme");
    admitted(&cluster.make(&pod("again", &good)));

    // An exception, until it ends.
    let repository = unsigned.split_once('@').unwrap().0;
    let exception = |until: &str| json!({"exceptions": [{"images": [repository], "owner": "ops@example.com", "reason": "moves in March", "until": until}]});
    stage.settings(&exception("2999-12-31"));
    let answer = cluster.make(&pod("excepted", &unsigned));
    admitted(&answer);
    assert!(
        answer
            .headers
            .contains("excepted until 2999-12-31 by ops@example.com"),
        "{}",
        answer.headers
    );
    stage.settings(&exception("2020-12-31"));
    refused(
        &cluster.make(&pod("ended", &unsigned)),
        "an exception for it by ops@example.com ended (2020-12-31)",
    );

    // A namespace of its own mode, by label.
    kubernetes.namespace("lab", &json!({"hardsign.dev/mode": "warn"}));
    stage.settings(
        &json!({"namespaces": [{"matchLabels": {"hardsign.dev/mode": "warn"}, "mode": "warn"}]}),
    );
    let answer = kubernetes.admin.post(
        "/api/v1/namespaces/lab/pods",
        &pod("warned", &unsigned).to_string(),
    );
    admitted(&answer);
    assert!(
        answer.headers.contains("hardsign would refuse"),
        "{}",
        answer.headers
    );
    refused(&cluster.make(&pod("elsewhere", &unsigned)), nothing);

    // The server is gone: nothing is made, and the ValidatingAdmissionPolicy is the net for those who chose `Ignore`.
    cluster.server.terminate();
    let mut gone = cluster.make(&pod("gone", &good));
    for _ in 0..100 {
        if gone.status == 500 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        gone = cluster.dry_run(&pod("gone", &good));
    }
    assert_eq!(gone.status, 500, "{gone:?}");
}

/// A signer's certificate is revoked while its pods run: nothing new comes in after `--max-age` at the latest, and what is there
/// can be labelled and torn down (REV-03, REV-20, REV-32).
#[test]
fn a_revoked_signer() {
    const SIGNER: &str = "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n";
    const RESPONDER: &str = "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=OCSPSigning\nnoCheck=ignored\n";
    let cluster = Cluster::with(Registry::ggcr().start(), &["--max-age", "4s"]);
    let (kubernetes, stage) = (&cluster.kubernetes, &cluster.stage);
    let (ca, lists) = (Authority::new("Admission Tests"), Publisher::start());
    ca.issue("responder", RESPONDER);
    let responder = ca.responder("responder");
    ca.issue(
        "by-list",
        &format!("{SIGNER}crlDistributionPoints=URI:{}\n", lists.url("/crl")),
    );
    ca.issue(
        "by-ocsp",
        &format!("{SIGNER}authorityInfoAccess=OCSP;URI:{}\n", responder.url()),
    );
    responder.refresh();
    lists.serve("/crl", &ca.crl("", ""));
    let signers = ["by-list", "by-ocsp"];
    let keys: Vec<Value> = signers
        .iter()
        .map(|name| {
            let file = |suffix: &str| ca.path().join(format!("{name}.{suffix}"));
            json!({"name": name, "keyPath": file("key"), "certPath": file("chain.pem")})
        })
        .collect();
    fs::write(
        stage.bench.config().join("signingkeys.json"),
        json!({"default": null, "keys": keys}).to_string(),
    )
    .unwrap();
    stage.trust_root(&ca.root());
    let images = signers.map(|name| {
        let pair = [
            stage.signed(&format!("{name}:v1"), name, name),
            stage.signed(&format!("{name}:v2"), &format!("{name} 2"), name),
        ];
        admitted(&cluster.make(&pod(name, &pair[0])));
        pair
    });

    for name in signers {
        ca.revoke(name, "keyCompromise");
    }
    responder.refresh();
    lists.serve("/crl", &ca.crl("", ""));
    let revoked = std::time::Instant::now();
    for (name, [first, second]) in signers.iter().zip(&images) {
        let new = format!("{name}-new");
        loop {
            let answer = cluster.make(&pod(&new, first));
            if answer.status == 403 {
                refused(&answer, "revoked");
                break;
            }
            // It was admitted by what was known: not for longer than --max-age.
            admitted(&answer);
            assert!(
                revoked.elapsed() < std::time::Duration::from_secs(15),
                "{name}: {answer:?}"
            );
            admitted(&kubernetes.delete(&format!("{PODS}/{new}?gracePeriodSeconds=0")));
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        let path = format!("{PODS}/{name}");
        let image = json!({"spec": {"containers": [{"name": "app", "image": second}]}});
        refused(&kubernetes.patch(&path, &image), "revoked");
        admitted(&kubernetes.patch(&path, &json!({"metadata": {"labels": {"seen": "yes"}}})));
        admitted(&kubernetes.delete(&path));
    }
}

/// The pod's own pull secrets, in namespaces whose Role lets the server read them.
#[test]
fn pull_secrets_are_read_where_a_role_permits_it() {
    let cluster = Cluster::new(Registry::ggcr().start());
    let (kubernetes, stage) = (&cluster.kubernetes, &cluster.stage);
    let private = Registry::ggcr().basic_auth().start();
    let (user, password) = private.credentials().unwrap();
    let image = private.push("app:v1", b"private");
    stage
        .bench
        .hardsign_ok(["sign", "--key", "acme", "-u", user, "-p", password, &image]);
    let auth = STANDARD.encode(format!("{user}:{password}"));
    let config = json!({"auths": {private.host(): {"auth": auth}}}).to_string();
    kubernetes.create(
        "/api/v1/namespaces/shop/secrets",
        &json!({
            "metadata": {"name": "pull"}, "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": STANDARD.encode(config)},
        }),
    );
    let mut private = pod("private", &image);
    private["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    // Off by default.
    refused(&cluster.make(&private), "credential required");
    // On, and the namespace has not opted in.
    stage.settings(&json!({"pullSecrets": true}));
    refused(&cluster.make(&private), "credential required");
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop";
    kubernetes.create(
        &format!("{rbac}/roles"),
        &json!({
            "metadata": {"name": "hardsign-pull-secrets"},
            "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["pull"]}],
        }),
    );
    kubernetes.create(
        &format!("{rbac}/rolebindings"),
        &json!({
            "metadata": {"name": "hardsign-pull-secrets"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "hardsign-pull-secrets"},
            "subjects": [{"kind": "ServiceAccount", "namespace": "hardsign", "name": "admission"}],
        }),
    );
    let mut answer = cluster.make(&private);
    for _ in 0..50 {
        if answer.status != 403 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        answer = cluster.make(&private);
    }
    admitted(&answer);
    // What one secret has proven is not lent to those without.
    refused(&cluster.make(&pod("bare", &image)), "credential required");
    assert!(!cluster.server.log().contains(password) && !cluster.server.log().contains(&auth));
}

/// The manifests that the two kustomizations name, those among them that are comments, and the namespace first.
fn manifests(directory: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for part in ["server", "webhooks"] {
        let text = fs::read_to_string(directory.join(part).join("kustomization.yaml")).unwrap();
        let lines = text.lines().map(|line| line.trim_start_matches("# "));
        let names = lines.filter_map(|line| line.strip_prefix("- "));
        let names = names.filter(|name| name.ends_with(".yaml") && !name.contains(' '));
        files.extend(names.map(|name| format!("{part}/{name}")));
    }
    assert!(files.len() >= 10, "{files:?}");
    for part in ["server", "webhooks"] {
        for entry in fs::read_dir(directory.join(part)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let file = format!("{part}/{name}");
            let manifest = name.ends_with(".yaml") && name != "kustomization.yaml";
            assert!(!manifest || files.contains(&file), "nothing names {file}");
        }
    }
    files
}

/// The manifests are what this API server accepts, and what they promise.
#[test]
fn the_manifests_are_accepted() {
    let kubernetes = Kubernetes::start();
    let directory = softhsm_tests::pages::root().join("docs/kubernetes");
    let mut kinds = Vec::new();
    for file in manifests(&directory) {
        let documents = fs::read_to_string(directory.join(&file)).unwrap();
        for document in documents.split("\n---\n") {
            let (head, metadata) = document.split_once("\nmetadata:\n").unwrap();
            let find = |text: &str, start: &str| {
                let mut lines = text.lines().take_while(|line| line.starts_with(' '));
                lines.find_map(|line| Some(line.strip_prefix(start)?.trim().to_owned()))
            };
            let in_head = |member: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix(member));
                line.unwrap().trim().to_owned()
            };
            let (version, kind) = (in_head("apiVersion:"), in_head("kind:"));
            if version.starts_with("cert-manager.io") {
                continue;
            }
            let name = find(metadata, "  name: ").unwrap();
            let namespace = find(metadata, "  namespace: ");
            let base = if version.contains('/') {
                format!("/apis/{version}")
            } else {
                format!("/api/{version}")
            };
            let place = namespace
                .map(|namespace| format!("/namespaces/{namespace}"))
                .unwrap_or_default();
            let plural = match kind.as_str() {
                kind if kind.ends_with("Policy") => {
                    format!("{}ies", kind.to_lowercase().trim_end_matches('y'))
                }
                kind => format!("{}s", kind.to_lowercase()),
            };
            // Server-side apply reads YAML; an unknown or misspelt member is an error.
            let dry = if kind == "Namespace" {
                ""
            } else {
                "&dryRun=All"
            };
            let path = format!(
                "{base}{place}/{plural}/{name}?fieldManager=test&fieldValidation=Strict{dry}"
            );
            let answer = kubernetes
                .admin
                .send("PATCH", &path, "application/apply-patch+yaml", document)
                .unwrap();
            assert!(
                matches!(answer.status, 200 | 201),
                "{file}: {kind} {name}: {answer:?}"
            );
            kinds.push(kind);
        }
    }
    for kind in [
        "Deployment",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ServiceAccount",
        "Service",
    ] {
        assert!(
            kinds.iter().any(|found| found == kind),
            "{kind} is missing: {kinds:?}"
        );
    }
    assert_eq!(
        kubernetes
            .admin
            .get("/api/v1/namespaces/hardsign-system")
            .status,
        200
    );
}

/// The recipe of docs/kubernetes.md for a serving certificate: a client that trusts it, as the API server does by
/// `caBundle`, takes it for the name of the Service. The server starts with the policy of the manifests.
#[test]
fn the_recipe_for_a_certificate() {
    let stage = Stage::new(Registry::ggcr().start());
    let page = softhsm_tests::pages::text("docs/kubernetes.md");
    let blocks = softhsm_tests::pages::blocks(&page);
    let recipe = blocks
        .iter()
        .find(|block| block.heading == "Its certificate" && block.lines[0].starts_with("openssl"));
    let recipe = recipe.unwrap().lines.join("\n");
    let (openssl, _) = recipe.split_once("\nkubectl").unwrap();
    let home = tempfile::tempdir().unwrap();
    softhsm_tests::run(
        Command::new("sh")
            .args(["-c", openssl])
            .current_dir(home.path()),
    );
    let put = |made: &str, place: &str| {
        fs::copy(home.path().join(made), stage.bench.path().join(place)).unwrap();
    };
    put("tls.crt", CERTIFICATE);
    put("tls.key", KEY);
    let manifests = softhsm_tests::pages::root().join("docs/kubernetes/server/policy");
    fs::remove_file(stage.policy().join("trustpolicy.json")).unwrap();
    for file in [
        "trustpolicy.oci.json",
        "policy.hardsign.json",
        "admission.hardsign.json",
    ] {
        fs::copy(manifests.join(file), stage.policy().join(file)).unwrap();
    }
    let server = stage.serve(&[]);
    let asked = |name| {
        let client = Client::new(server.port, &home.path().join("ca.crt")).named(name);
        client.send("GET", "/readyz", "", "")
    };
    let answer = asked("hardsign-admission.hardsign-system.svc");
    assert_eq!(answer.unwrap().status, 200);
    assert!(asked("localhost").is_err(), "it is for no other name");
    // The next certificate, of the same CA.
    let next = openssl.split_once("\nopenssl").unwrap().1;
    let next = format!("openssl{next}");
    softhsm_tests::run(
        Command::new("sh")
            .args(["-c", &next])
            .current_dir(home.path()),
    );
    assert!(
        fs::read(home.path().join("tls.crt")).unwrap()
            != fs::read(stage.bench.path().join(CERTIFICATE)).unwrap()
    );
    drop(server);
    put("tls.crt", CERTIFICATE);
    put("tls.key", KEY);
    let server = stage.serve(&[]);
    let client = Client::new(server.port, &home.path().join("ca.crt"));
    let named = client.named("hardsign-admission.hardsign-system.svc");
    assert_eq!(named.get("/readyz").status, 200);
}

/// A pod's service account logs in to OpenBao, which has its token reviewed by the real API server; what was signed
/// verifies.
#[test]
fn openbao_takes_the_login_of_a_service_account() {
    let kubernetes = Kubernetes::start();
    kubernetes.namespace("build", &json!({}));
    kubernetes.service_account("build", "reviewer");
    kubernetes.service_account("build", "signer");
    kubernetes.bind("system:auth-delegator", "build", "reviewer");
    let (reviewer, _) = kubernetes.token("build", "reviewer", &[]);
    let (_, signer) = kubernetes.token("build", "signer", &["bao"]);
    let (_, stranger) = kubernetes.token("build", "default", &["bao"]);
    let bao = OpenBao::start();
    let chain = bao.key("release", "ecdsa-p256");
    bao.policy(
        "sign",
        "path \"transit/*\" { capabilities = [\"create\", \"read\", \"update\"] }",
    );
    bao.bao(["auth", "enable", "kubernetes"]);
    bao.write(
        "auth/kubernetes/config",
        &json!({
            "kubernetes_host": kubernetes.url(),
            "kubernetes_ca_cert": fs::read_to_string(kubernetes.certificate()).unwrap(),
            "token_reviewer_jwt": reviewer,
        }),
    );
    bao.write(
        "auth/kubernetes/role/signer",
        &json!({
            "bound_service_account_names": "signer", "bound_service_account_namespaces": "build",
            "audience": "bao", "token_policies": "sign", "token_ttl": "5m",
        }),
    );
    let bench = Workbench::new();
    bench.install_plugin(
        "hashivault",
        &softhsm_tests::binaries().join("notation-hashivault"),
    );
    let digest = bench.layout.add("v1", "an application");
    let sign = |token: &Path| {
        let mut command: Command = bench.command(
            &softhsm_tests::binaries().join("hardsign"),
            [
                "sign",
                "--oci-layout",
                "--plugin",
                "hashivault",
                "--id",
                "release",
                "--plugin-config",
                &format!("cert-chain={}", chain.display()),
                "--plugin-config",
                "login=kubernetes",
                "--plugin-config",
                "role=signer",
                "--plugin-config",
                &format!("jwt=file:{}", token.display()),
                &bench.reference(&digest),
            ],
        );
        bench.run(
            command
                .env("VAULT_ADDR", bao.address())
                .env_remove("VAULT_TOKEN"),
        )
    };
    let refused = sign(&stranger);
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(refused.stderr.contains("Error: "), "{}", refused.stderr);
    let signed = sign(&signer);
    assert_eq!(signed.code, Some(0), "{signed:?}");
    bench.trust(&softhsm_tests::keys::root_der(), "strict");
    bench.hardsign_ok([
        "verify",
        "--oci-layout",
        "--scope",
        "local/test",
        &bench.reference(&digest),
    ]);
}
