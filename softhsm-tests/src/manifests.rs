//! docs/kubernetes, applied to a real API server by the commands of docs/kubernetes.md, in their order; and the server with the
//! arguments, the environment and the mounted files that the Deployment gives it.
//!
//! The Service leads to this machine (`ExternalName`), so that the webhooks are called as they are registered: by the name of the
//! Service, with the `caBundle` that the page's commands put there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::admission::{Answer, Server, Stage};
use crate::kubernetes::{Kubernetes, pod};
use crate::pages;
use crate::peers::program;
use crate::peers::registry::Registry;
use crate::ports::free_port;
use crate::workbench::Ran;

/// The path of the namespace.
pub const SYSTEM: &str = "/api/v1/namespaces/hardsign-system";
/// The path of the Deployment.
pub const DEPLOYMENT: &str =
    "/apis/apps/v1/namespaces/hardsign-system/deployments/hardsign-admission";
const CERTIFICATES: &str = "/apis/cert-manager.io/v1/namespaces/hardsign-system";
const REGISTRATIONS: &str = "/apis/admissionregistration.k8s.io/v1";
const WEBHOOKS: [&str; 2] = [
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
];

/// A cluster, and what somebody has who follows the page.
pub struct Installed {
    pub kubernetes: Kubernetes,
    pub stage: Stage,
    /// A copy of the repository's manifests, with the root of the signers.
    pub root: TempDir,
    /// What the kubelet would mount.
    pub mounts: TempDir,
    /// Where the server listens.
    pub port: u16,
}

impl Installed {
    /// A cluster in which nothing is applied yet. The policy is for these repositories of the stage's registry.
    pub fn new(repositories: &[&str]) -> Self {
        let stage = Stage::new(Registry::ggcr().start());
        let root = tempfile::tempdir().unwrap();
        let manifests = root.path().join("docs/kubernetes");
        fs::create_dir_all(&manifests).unwrap();
        copy(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kubernetes"),
            &manifests,
        );
        let installed = Self {
            kubernetes: Kubernetes::start(),
            stage,
            root,
            mounts: tempfile::tempdir().unwrap(),
            port: free_port(),
        };
        installed.put_signer("acme", "signers.pem");
        installed.scopes(repositories.iter().map(|name| installed.repository(name)));
        installed.change(
            "server/service.yaml",
            "spec:\n",
            "spec:\n  type: ExternalName\n  externalName: localhost\n",
        );
        let service = "      namespace: hardsign-system\n";
        for file in ["pods.yaml", "workloads.yaml", "mutating.yaml"] {
            let port = format!("{service}      port: {}\n", installed.port);
            installed.change(&format!("webhooks/{file}"), service, &port);
        }
        installed
    }

    pub fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.stage.registry.host())
    }

    /// The certificate of a signer of the bench, as a file of the policy.
    pub fn put_signer(&self, signer: &str, file: &str) {
        let certificate = self
            .stage
            .bench
            .config()
            .join(format!("localkeys/{signer}.crt"));
        fs::copy(certificate, self.file(&format!("server/policy/{file}"))).unwrap();
    }

    pub fn scopes(&self, scopes: impl Iterator<Item = String>) {
        let path = self.file("server/policy/trustpolicy.oci.json");
        let mut policy: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        policy["trustPolicies"][0]["registryScopes"] = scopes.collect();
        fs::write(path, policy.to_string()).unwrap();
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("docs/kubernetes").join(name)
    }

    /// Changes a manifest.
    pub fn change(&self, file: &str, old: &str, new: &str) {
        let path = self.file(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{file}: {old}");
        fs::write(path, text.replacen(old, new, 1)).unwrap();
    }

    /// Takes lines in that stand in a manifest as comments: the items that have this, with all their lines.
    pub fn uncomment(&self, file: &str, has: &str) {
        let path = self.file(file);
        let text = fs::read_to_string(&path).unwrap();
        let mut open = false;
        let mut lines = Vec::new();
        for line in text.lines() {
            let (bare, said) = (line.replacen("# ", "", 1), line.trim_start());
            open =
                said.starts_with("# - ") && said.contains(has) || open && said.starts_with("#   ");
            lines.push(if open { bare } else { line.to_owned() });
        }
        assert_ne!(lines.join("\n"), text.trim_end(), "{file}: {has}");
        fs::write(path, lines.join("\n") + "\n").unwrap();
    }

    /// "The server" of the page.
    pub fn apply_server(&self) -> String {
        self.ok(&commands("The server").remove(0))
    }

    /// "Its certificate" of the page, by openssl.
    pub fn certificate_by_openssl(&self) {
        self.ok(&commands("Its certificate").remove(1));
    }

    /// "Its certificate" of the page, by cert-manager, whose part is played here.
    pub fn certificate_by_cert_manager(&self) {
        for kind in ["certificates", "issuers"] {
            let file = program(&format!("cert-manager-{kind}.yaml"));
            self.ok(&format!(
                "kubectl apply --server-side -f {}",
                file.display()
            ));
        }
        self.until("the API server knows cert-manager's objects", || {
            let asked = "kubectl get certificates.cert-manager.io,issuers.cert-manager.io -A";
            self.run(asked).code == Some(0)
        });
        self.ok(&commands("Its certificate").remove(0));
        self.issue(&["hardsign-admission-ca", "hardsign-admission"]);
    }

    /// Makes the secrets of these Certificates by their Issuers, as cert-manager does.
    pub fn issue(&self, names: &[&str]) {
        for name in names {
            let spec = self.get(&format!("{CERTIFICATES}/certificates/{name}"))["spec"].clone();
            let issuer = spec["issuerRef"]["name"].as_str().unwrap();
            let issuer = self.get(&format!("{CERTIFICATES}/issuers/{issuer}"))["spec"].clone();
            let secret = spec["secretName"].as_str().unwrap();
            let (by, ca) = match issuer["ca"]["secretName"].as_str() {
                Some(ca) => (format!("-CA {ca}.crt -CAkey {ca}.key"), ca),
                None => {
                    assert!(
                        issuer["selfSigned"].is_object() && spec["isCA"] == true,
                        "{issuer}"
                    );
                    (String::new(), secret)
                }
            };
            let extension = match spec["dnsNames"][0].as_str() {
                Some(host) => format!(
                    "-addext subjectAltName=DNS:{host} -addext basicConstraints=critical,CA:FALSE"
                ),
                None => String::new(),
            };
            self.ok(&format!(
                "openssl req -x509 {by} -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 \
                 -keyout {secret}.key -out {secret}.crt -subj /CN={name} {extension}
                 kubectl -n hardsign-system create secret generic {secret} --type kubernetes.io/tls \
                 --from-file tls.crt={secret}.crt --from-file tls.key={secret}.key --from-file ca.crt={ca}.crt \
                 --dry-run=client -o yaml | kubectl apply --server-side -f -"
            ));
        }
    }

    /// The Deployment's pods are ready, as its controller would say.
    pub fn say_ready(&self) {
        let generation = self.get(DEPLOYMENT)["metadata"]["generation"].clone();
        let status = json!({"status": {
            "observedGeneration": generation, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
        }});
        let answer = self
            .kubernetes
            .patch(&format!("{DEPLOYMENT}/status"), &status);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// "The webhooks" of the page.
    pub fn apply_webhooks(&self) -> String {
        self.ok(&commands("The webhooks").remove(0))
    }

    /// All of the page, with the server running, and pods asked about.
    pub fn install(&self) -> Server {
        self.apply_server();
        self.certificate_by_openssl();
        let server = self.serve();
        self.say_ready();
        self.apply_webhooks();
        self.await_calls(&server);
        server
    }

    /// Waits until the API server asks this server about pods. In between pods are made or refused, but never for want of an answer.
    pub fn await_calls(&self, server: &Server) {
        let namespaces = self.kubernetes.admin.get("/api/v1/namespaces/probe");
        if namespaces.status == 404 {
            self.kubernetes.namespace("probe", &json!({}));
        }
        let unsigned = self.stage.image("probe:v1", "probe");
        self.until("pods are asked about", || {
            let answer = self.try_out("probe", &pod("probe", &unsigned));
            assert!(
                !answer.body.contains("failed calling webhook"),
                "{answer:?}"
            );
            server.log().contains("\"verdict\"")
        });
    }

    /// Runs commands of the page.
    pub fn run(&self, script: &str) -> Ran {
        let path = format!(
            "{}:{}",
            self.kubernetes.kubectl().display(),
            std::env::var("PATH").unwrap()
        );
        let mut command = Command::new("sh");
        command
            .args(["-ec", script])
            .env("PATH", path)
            .current_dir(self.root.path());
        self.stage.bench.run(&mut command)
    }

    pub fn ok(&self, script: &str) -> String {
        let ran = self.run(script);
        assert_eq!(ran.code, Some(0), "{script}: {ran:?}");
        ran.stdout
    }

    pub fn get(&self, path: &str) -> Value {
        let answer = self.kubernetes.admin.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// All webhook configurations that there are.
    pub fn registered(&self) -> Vec<Value> {
        let lists =
            WEBHOOKS.map(|kind| self.get(&format!("{REGISTRATIONS}/{kind}"))["items"].clone());
        lists
            .iter()
            .flat_map(|list| list.as_array().unwrap().clone())
            .collect()
    }

    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(180), "{what}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    pub fn make(&self, namespace: &str, pod: &Value) -> Answer {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        self.kubernetes.admin.post(&path, &pod.to_string())
    }

    pub fn try_out(&self, namespace: &str, pod: &Value) -> Answer {
        let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
        self.kubernetes.admin.post(&path, &pod.to_string())
    }

    /// The files of a source of a volume: what is in the object of the API server, by `items` where there are any.
    pub fn files(
        &self,
        kind: &str,
        name: &Value,
        source: &Value,
    ) -> Option<Vec<(String, Vec<u8>)>> {
        let path = format!("{SYSTEM}/{kind}/{}", name.as_str().unwrap());
        let answer = self.kubernetes.admin.get(&path);
        if answer.status == 404 && source["optional"] == true {
            return None;
        }
        assert_eq!(answer.status, 200, "the pod would not start: {path}");
        let object = answer.json();
        let value = |key: &str| {
            let text = object["data"][key].as_str()?;
            Some(match kind {
                "secrets" => STANDARD.decode(text).unwrap(),
                _ => text.as_bytes().to_vec(),
            })
        };
        let Some(items) = source["items"].as_array() else {
            let keys = object["data"].as_object().unwrap().keys();
            return Some(keys.map(|key| (key.clone(), value(key).unwrap())).collect());
        };
        let found = items.iter().map(|item| {
            let key = item["key"].as_str().unwrap();
            let value = value(key)
                .unwrap_or_else(|| panic!("the pod would not start: {path} has no {key}"));
            (item["path"].as_str().unwrap().to_owned(), value)
        });
        Some(found.collect())
    }

    /// The directory that the kubelet makes of a volume of the Deployment, behind `..data`; the same again after a change.
    pub fn mount(&self, volume: &Value) -> PathBuf {
        let mount = self.mounts.path().join(volume["name"].as_str().unwrap());
        let sources = match volume["projected"]["sources"].as_array() {
            Some(sources) => sources.clone(),
            None => vec![volume.clone()],
        };
        let mut all = Vec::new();
        for source in &sources {
            all.extend(match (source.get("configMap"), source.get("secret")) {
                (Some(map), _) => self.files("configmaps", &map["name"], map),
                (_, Some(secret)) => self.files("secrets", &secret["secretName"], secret),
                _ => panic!("{source}"),
            });
        }
        fs::create_dir_all(&mount).unwrap();
        let version = format!("..{}", fs::read_dir(&mount).unwrap().count());
        let real = mount.join(&version);
        fs::create_dir(&real).unwrap();
        for (path, value) in all.into_iter().flatten() {
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

    /// What the kubelet brings to the pods that run after a change.
    pub fn bring(&self, name: &str) {
        let deployment = self.get(DEPLOYMENT);
        let volumes = deployment["spec"]["template"]["spec"]["volumes"].as_array();
        let mut volumes = volumes.unwrap().iter();
        self.mount(volumes.find(|volume| volume["name"] == name).unwrap());
    }

    /// The container of the Deployment as a process, in this cluster.
    pub fn serve(&self) -> Server {
        let deployment = self.get(DEPLOYMENT);
        let spec = &deployment["spec"]["template"]["spec"];
        let container = &spec["containers"][0];
        let mut places = Vec::new();
        for volume in spec["volumes"].as_array().unwrap() {
            let name = &volume["name"];
            let mounted = container["volumeMounts"].as_array().unwrap();
            let mounted = mounted.iter().find(|mounted| mounted["name"] == *name);
            let path = mounted.unwrap()["mountPath"].as_str().unwrap().to_owned();
            places.push((path, self.mount(volume)));
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
        let mut command = Command::new(crate::binaries().join("hardsign"));
        command.args(arguments).env_clear();
        for variable in container["env"].as_array().unwrap() {
            let value = placed(variable["value"].as_str().unwrap());
            command.env(variable["name"].as_str().unwrap(), value);
        }
        Server::spawn_at(self.port, command, &self.mounts.path().join("tls/tls.crt"))
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
pub fn commands(heading: &str) -> Vec<String> {
    let page = pages::text("docs/kubernetes.md");
    let blocks = pages::blocks(&page);
    let wanted = blocks
        .iter()
        .filter(|block| block.heading == heading && block.language == "sh");
    wanted.map(|block| block.lines.join("\n")).collect()
}

/// A command that stands in a line of the page, between backquotes.
pub fn inline(start: &str) -> String {
    let page = pages::text("docs/kubernetes.md");
    let mut spans = page.split('`').filter(|span| span.starts_with(start));
    spans.next().unwrap_or_else(|| panic!("{start}")).to_owned()
}
