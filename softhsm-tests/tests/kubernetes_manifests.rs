//! docs/kubernetes, applied to a real API server by `kubectl apply -k` as docs/kubernetes.md says, with the commands of that page;
//! and the server with the arguments, the environment and the mounted files that the Deployment gives it.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test: failing is its answer"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use softhsm_tests::admission::{Answer, Server, Stage};
use softhsm_tests::kubernetes::{Kubernetes, pod};
use softhsm_tests::pages;
use softhsm_tests::peers::program;
use softhsm_tests::peers::registry::{CERTIFICATE, KEY, Registry};
use softhsm_tests::workbench::Ran;
use tempfile::TempDir;

const SYSTEM: &str = "/api/v1/namespaces/hardsign-system";
const VALIDATING: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/hardsign";
const MUTATING: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hardsign";

/// A cluster with everything applied.
struct Installed {
    kubernetes: Kubernetes,
    stage: Stage,
    /// The manifests, with the root of the signers.
    directory: TempDir,
    /// What the kubelet would mount.
    mounts: TempDir,
}

impl Installed {
    fn new() -> Self {
        let stage = Stage::new(Registry::ggcr().start());
        let directory = tempfile::tempdir().unwrap();
        copy(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kubernetes"),
            directory.path(),
        );
        fs::copy(
            stage.bench.config().join("localkeys/acme.crt"),
            directory.path().join("policy/signers.pem"),
        )
        .unwrap();
        let installed = Self {
            kubernetes: Kubernetes::start(),
            stage,
            directory,
            mounts: tempfile::tempdir().unwrap(),
        };
        for kind in ["certificates", "issuers"] {
            let file = program(&format!("cert-manager-{kind}.yaml"));
            let file = file.display().to_string();
            installed.kubectl(&["apply", "--server-side", "-f", &file]);
        }
        installed.until("the API server knows cert-manager's objects", || {
            let ran = installed
                .run("kubectl get certificates.cert-manager.io,issuers.cert-manager.io -A");
            ran.code == Some(0)
        });
        installed.apply();
        installed
    }

    fn apply(&self) -> String {
        let directory = self.directory.path().display().to_string();
        self.kubectl(&["apply", "-k", &directory])
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.kubernetes.kubectl().join("kubectl"));
        let ran = self.stage.bench.run(command.args(arguments));
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        ran.stdout
    }

    /// Runs commands of the page.
    fn run(&self, script: &str) -> Ran {
        let path = format!(
            "{}:{}",
            self.kubernetes.kubectl().display(),
            std::env::var("PATH").unwrap()
        );
        let mut command = Command::new("sh");
        command
            .args(["-ec", script])
            .env("PATH", path)
            .current_dir(self.mounts.path());
        self.stage.bench.run(&mut command)
    }

    fn ok(&self, script: &str) -> String {
        let ran = self.run(script);
        assert_eq!(ran.code, Some(0), "{script}: {ran:?}");
        ran.stdout
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.kubernetes.admin.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn make(&self, namespace: &str, pod: &Value) -> Answer {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        self.kubernetes.admin.post(&path, &pod.to_string())
    }

    fn try_out(&self, namespace: &str, pod: &Value) -> Answer {
        let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
        self.kubernetes.admin.post(&path, &pod.to_string())
    }

    /// There are no Services here: the webhooks of a configuration are called at an address, with the certificate that is for it.
    fn call_at(&self, path: &str, server: &Server) {
        let bundle = STANDARD.encode(fs::read(self.stage.bench.path().join(CERTIFICATE)).unwrap());
        let mut configuration = self.get(path);
        for webhook in configuration["webhooks"].as_array_mut().unwrap() {
            let config = &mut webhook["clientConfig"];
            let called = config["service"]["path"].as_str().unwrap().to_owned();
            *config = json!({"url": format!("https://localhost:{}{called}", server.port), "caBundle": bundle});
        }
        let put =
            self.kubernetes
                .admin
                .send("PUT", path, "application/json", &configuration.to_string());
        assert_eq!(put.unwrap().status, 200);
    }

    /// The directory that the kubelet would make of a volume of the Deployment: what is in the object of the API server, by
    /// `items`, behind `..data`.
    fn mount(&self, volume: &Value, version: &str) -> PathBuf {
        let mount = self.mounts.path().join(volume["name"].as_str().unwrap());
        let real = mount.join(version);
        fs::create_dir_all(&real).unwrap();
        let (kind, source, name) = match (volume.get("configMap"), volume.get("secret")) {
            (Some(map), _) => ("configmaps", map, map["name"].as_str()),
            (_, Some(secret)) => ("secrets", secret, secret["secretName"].as_str()),
            _ => panic!("{volume}"),
        };
        let answer = self
            .kubernetes
            .admin
            .get(&format!("{SYSTEM}/{kind}/{}", name.unwrap()));
        if answer.status == 404 && source["optional"] == true {
            return mount;
        }
        let object = answer.json();
        let data = object["data"].as_object().unwrap();
        let items = source["items"].as_array();
        for (key, value) in data {
            let value = match kind {
                "secrets" => STANDARD.decode(value.as_str().unwrap()).unwrap(),
                _ => value.as_str().unwrap().as_bytes().to_vec(),
            };
            let item = items.map(|items| items.iter().find(|item| item["key"] == key.as_str()));
            let path = match item {
                None => key.as_str(),
                Some(Some(item)) => item["path"].as_str().unwrap(),
                Some(None) => continue,
            };
            let file = real.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, value).unwrap();
        }
        let new = mount.join("..new");
        symlink(version, &new).unwrap();
        fs::rename(new, mount.join("..data")).unwrap();
        for entry in fs::read_dir(&real).unwrap() {
            let name = entry.unwrap().file_name();
            let link = mount.join(&name);
            if fs::symlink_metadata(&link).is_err() {
                symlink(Path::new("..data").join(&name), link).unwrap();
            }
        }
        mount
    }

    /// The container of the Deployment as a process, in this cluster.
    fn serve(&self) -> Server {
        let deployment =
            self.get("/apis/apps/v1/namespaces/hardsign-system/deployments/hardsign-admission");
        let spec = &deployment["spec"]["template"]["spec"];
        let container = &spec["containers"][0];
        let mut places = Vec::new();
        for volume in spec["volumes"].as_array().unwrap() {
            let name = &volume["name"];
            let mounted = container["volumeMounts"].as_array().unwrap();
            let mounted = mounted.iter().find(|mounted| mounted["name"] == *name);
            let path = mounted.unwrap()["mountPath"].as_str().unwrap().to_owned();
            places.push((path, self.mount(volume, "..1")));
        }
        let placed = |text: &str| {
            let (before, path) = text
                .split_once("=/")
                .map_or(("", text), |(b, _)| (b, text.get(b.len() + 1..).unwrap()));
            let found = places.iter().find_map(|(mounted, real)| {
                let rest = path.strip_prefix(mounted.as_str())?;
                Some(format!("{}{rest}", real.display()))
            });
            match (found, before) {
                (None, _) => text.to_owned(),
                (Some(found), "") => found,
                (Some(found), before) => format!("{before}={found}"),
            }
        };
        let token = {
            let (_, file) = self
                .kubernetes
                .token("hardsign-system", "hardsign-admission", &[]);
            file.display().to_string()
        };
        let arguments = container["args"].as_array().unwrap();
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| placed(argument.as_str().unwrap()))
            .chain(
                [
                    "--api-server",
                    &self.kubernetes.url(),
                    "--api-ca",
                    &self.kubernetes.certificate().display().to_string(),
                    "--api-token",
                    &token,
                    "--drain",
                    "1s",
                ]
                .map(str::to_owned),
            )
            .collect();
        let mut command = Command::new(softhsm_tests::binaries().join("hardsign"));
        command.args(arguments).env_clear();
        for variable in container["env"].as_array().unwrap() {
            let value = placed(variable["value"].as_str().unwrap());
            command.env(variable["name"].as_str().unwrap(), value);
        }
        Server::spawn(command, &self.stage.bench.path().join(CERTIFICATE))
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The blocks of commands below a heading of the page.
fn commands(heading: &str) -> Vec<String> {
    let page = pages::text("docs/kubernetes.md");
    let blocks = pages::blocks(&page);
    let wanted = blocks
        .iter()
        .filter(|block| block.heading == heading && block.language == "sh");
    wanted.map(|block| block.lines.join("\n")).collect()
}

/// A command that stands in a line of the page, between backquotes.
fn inline(start: &str) -> String {
    let page = pages::text("docs/kubernetes.md");
    let mut spans = page.split('`').filter(|span| span.starts_with(start));
    spans.next().unwrap_or_else(|| panic!("{start}")).to_owned()
}

fn refused(answer: &Answer, told: &str) {
    assert!(
        matches!(answer.status, 403 | 422) && answer.body.contains(told),
        "{told}: {answer:?}"
    );
}

fn admitted(answer: &Answer) {
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
}

/// Every manifest, the recipe for a certificate, the way from `audit` to `enforce`, the way out, the net below, and tags that
/// become digests.
#[test]
fn the_page_is_followed() {
    let installed = Installed::new();
    let (kubernetes, stage) = (&installed.kubernetes, &installed.stage);
    // All is there, and a second time makes nothing anew.
    let again = installed.apply();
    assert!(
        again.lines().count() >= 13 && !again.contains(" created"),
        "{again}"
    );
    for object in [
        "certificate/hardsign-admission",
        "issuer/hardsign-selfsigned",
        "networkpolicy/hardsign-admission",
        "poddisruptionbudget/hardsign-admission",
        "service/hardsign-admission",
        "configmap/hardsign-policy",
    ] {
        installed.kubectl(&["-n", "hardsign-system", "get", object]);
    }
    // The pods of the Deployment may run where they are to.
    let deployment =
        installed.get("/apis/apps/v1/namespaces/hardsign-system/deployments/hardsign-admission");
    assert_eq!(deployment["metadata"]["generation"], 1);
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

    // The recipe, whole.
    let recipe = commands("Installing").remove(0);
    installed.ok(&recipe);
    let certificate = fs::read(installed.mounts.path().join("tls.crt")).unwrap();
    for webhook in installed.get(VALIDATING)["webhooks"].as_array().unwrap() {
        let config = &webhook["clientConfig"];
        assert_eq!(config["caBundle"], STANDARD.encode(&certificate));
        assert_eq!(config["service"]["name"], "hardsign-admission");
    }
    // One for the address at which the webhooks are called here.
    let at = |name: &str| stage.bench.path().join(name).display().to_string();
    installed.ok("kubectl -n hardsign-system delete secret hardsign-admission-tls");
    installed.ok(&format!(
        "kubectl -n hardsign-system create secret tls hardsign-admission-tls --cert {} --key {}",
        at(CERTIFICATE),
        at(KEY)
    ));
    let server = installed.serve();
    installed.call_at(VALIDATING, &server);

    // Audit: all is admitted, and the log says what would not be.
    kubernetes.namespace("shop", &json!({}));
    let good = stage.signed("app:v1", "good", "acme");
    let unsigned = stage.image("app:v2", "unsigned");
    let tag = format!("{}:v1", good.split_once('@').unwrap().0);
    installed.until("the webhook is called", || {
        let answer = installed.try_out("shop", &pod("probe", &unsigned));
        answer.status == 201 && server.log().contains("\"verdict\"")
    });
    let answer = installed.make("shop", &pod("audited", &unsigned));
    admitted(&answer);
    assert!(!answer.headers.contains("warning:"), "{}", answer.headers);
    let list = inline("kubectl -n hardsign-system logs");
    let (_, jq) = list.split_once("| ").unwrap();
    fs::write(installed.mounts.path().join("log"), server.log()).unwrap();
    let listed = installed.ok(&format!("cat log | {jq}"));
    assert!(
        listed.contains(&unsigned) && listed.contains("no signature"),
        "{listed}"
    );

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
        "no signature is associated",
    );
    admitted(&installed.make("shop", &pod("good", &good)));
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "app", "image": unsigned}]}});
    for (path, object) in [
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
            json!({"metadata": {"name": "x"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "serviceName": "x", "template": template}}),
        ),
    ] {
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

    // The way out; the API server still demands digests by itself.
    installed.ok(&commands("When it is down").remove(0));
    installed.until("the webhook is gone", || {
        installed.try_out("shop", &pod("out", &unsigned)).status == 201
    });
    installed.until("the policy counts", || {
        installed.try_out("shop", &pod("tag", &tag)).status != 201
    });
    let answer = installed.make("shop", &pod("tag", &tag));
    refused(&answer, "every image must be named by digest");
    for (member, images) in [
        ("initContainers", json!([{"name": "i", "image": tag}])),
        (
            "volumes",
            json!([{"name": "v", "image": {"reference": tag}}]),
        ),
    ] {
        let mut other = pod("other", &good);
        other["spec"][member] = images;
        refused(
            &installed.make("shop", &other),
            "every image must be named by digest",
        );
    }
    admitted(&installed.make("shop", &pod("still", &unsigned)));

    // Opt-in: tags become digests.
    let mutating = installed.directory.path().join("mutating.yaml");
    installed.kubectl(&["apply", "-f", &mutating.display().to_string()]);
    installed.call_at(MUTATING, &server);
    installed.until("tags become digests", || {
        installed.try_out("shop", &pod("tag", &tag)).status == 201
    });
    let answer = installed.make("shop", &pod("pinned", &tag));
    admitted(&answer);
    assert_eq!(
        answer.json()["spec"]["containers"][0]["image"],
        good.as_str()
    );
    // And back in.
    assert!(installed.apply().contains("/hardsign created"));
    installed.call_at(VALIDATING, &server);
    installed.until("the webhook is called", || {
        installed.try_out("shop", &pod("back", &unsigned)).status == 403
    });
}

/// A Role of `pull-secrets.yaml` lets the server read one secret of one namespace.
#[test]
fn pull_secrets_by_the_manifest() {
    let installed = Installed::new();
    let (kubernetes, stage) = (&installed.kubernetes, &installed.stage);
    let at = |name: &str| stage.bench.path().join(name).display().to_string();
    installed.ok(&format!(
        "kubectl -n hardsign-system create secret tls hardsign-admission-tls --cert {} --key {}",
        at(CERTIFICATE),
        at(KEY)
    ));
    let server = installed.serve();
    installed.call_at(VALIDATING, &server);
    for namespace in ["shop", "lab"] {
        kubernetes.namespace(namespace, &json!({"hardsign.dev/mode": "enforce"}));
    }
    let private = Registry::ggcr().basic_auth().start();
    let (user, password) = private.credentials().unwrap();
    let image = private.push("team/app:v1", b"private");
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
        installed.mounts.path().join("config.json"),
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
    let settings = installed
        .directory
        .path()
        .join("policy/admission.hardsign.json");
    let text = fs::read_to_string(&settings).unwrap();
    let text = text.replacen("\"mode\"", "\"pullSecrets\": true,\n  \"mode\"", 1);
    fs::write(&settings, text).unwrap();
    // The address by which the webhook is called here would stay beside the Service.
    installed.ok(&commands("When it is down").remove(0));
    installed.until("the webhook is gone", || {
        installed.try_out("shop", &with("registry")).status == 201
    });
    let changed = installed.apply();
    assert!(
        changed.contains("configmap/hardsign-policy configured"),
        "{changed}"
    );
    installed.call_at(VALIDATING, &server);
    let deployment =
        installed.get("/apis/apps/v1/namespaces/hardsign-system/deployments/hardsign-admission");
    let volumes = deployment["spec"]["template"]["spec"]["volumes"]
        .as_array()
        .unwrap();
    installed.mount(&volumes[0], "..2");
    installed.until("the webhook is called", || {
        installed.try_out("shop", &with("registry")).status == 403
    });
    refused(
        &installed.make("shop", &with("registry")),
        "credential required",
    );
    // The namespace opts in.
    let role = installed.directory.path().join("pull-secrets.yaml");
    installed.kubectl(&["apply", "-f", &role.display().to_string()]);
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
