//! `notation-framework`, our test plugin on the Go plugin framework (`peers/framework-plugin`).
//!
//! Its capabilities follow from the name that it is installed under, for instance with
//! [`Notation::install_plugin`]: `framework` signs raw, `framework-envelope` makes JWS envelopes,
//! and the words `identity` and `revocation` add the verifier capabilities. It signs with keys
//! that it makes below the directory `dir` of its configuration.
//!
//! [`Notation::install_plugin`]: super::Notation::install_plugin

use std::path::{Path, PathBuf};

use super::program;

/// The built executable.
pub fn executable() -> PathBuf {
    program("notation-framework")
}

/// The root certificate of the key `key_id` that the plugin made, as a PEM file to be trusted,
/// given the plugin's `dir`.
pub fn root(directory: &Path, key_id: &str) -> PathBuf {
    directory.join(key_id).join("root.pem")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{
        super::{Notation, USE_REFERRERS_API, registry::Registry},
        *,
    };

    struct Scene {
        notation: Notation,
        _registry: Registry,
        artifact: String,
        keys: PathBuf,
    }

    impl Scene {
        /// An artifact, and the plugin under the name `plugin` with one key of `key_spec`.
        fn new(plugin: &str, key_spec: &str) -> Self {
            let executable = executable();
            let notation = Notation::new();
            let registry = Registry::olareg().start();
            let artifact = registry.push("demo:v1", key_spec.as_bytes());
            let keys = notation.work_dir().join("keys");
            notation.install_plugin(plugin, &executable);
            notation.run([
                "key",
                "add",
                "--default",
                "--plugin",
                plugin,
                "--id",
                "release",
                "--plugin-config",
                &format!("dir={}", keys.display()),
                "--plugin-config",
                &format!("keySpec={key_spec}"),
                "signer",
            ]);
            Self {
                notation,
                _registry: registry,
                artifact,
                keys,
            }
        }

        fn sign(&self, flags: &[&str]) -> Result<String, String> {
            let mut command = self.notation.command(["sign", USE_REFERRERS_API]);
            outcome(command.args(flags).arg(&self.artifact))
        }

        fn verify(&self, flags: &[&str]) -> Result<String, String> {
            outcome(
                self.notation
                    .command(["verify"])
                    .args(flags)
                    .arg(&self.artifact),
            )
        }

        fn trust(&self) {
            self.notation.trust(&root(&self.keys, "release"));
        }
    }

    fn outcome(command: &mut Command) -> Result<String, String> {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err(text(output.stderr))
        }
    }

    #[test]
    fn notation_signs_and_verifies_with_each_key_spec() {
        for spec in [
            "RSA-2048", "RSA-3072", "RSA-4096", "EC-256", "EC-384", "EC-521",
        ] {
            let scene = Scene::new("framework", spec);
            for format in ["jws", "cose"] {
                scene.sign(&["--signature-format", format]).unwrap();
            }
            let listing = scene.notation.run(["list", &scene.artifact]);
            assert_eq!(listing.matches("── sha256:").count(), 2, "{listing}");
            scene.trust();
            scene.verify(&[]).unwrap();
        }
    }

    #[test]
    fn notation_takes_the_envelope_and_asks_the_verification_plugin_that_it_names() {
        let plugin = "framework-envelope-identity-revocation";
        let scene = Scene::new(plugin, "EC-384");
        scene
            .sign(&[
                "--expiry",
                "1h",
                "--plugin-config",
                &format!("verificationPlugin={plugin}"),
                "--plugin-config",
                "verificationPluginMinVersion=1.0.0",
                "--plugin-config",
                "attribute.com.example.stage=qa",
                "--plugin-config",
                "annotation.com.example.by=framework",
            ])
            .unwrap();
        scene.trust();
        scene.verify(&[]).unwrap();
        for (answer, error) in [
            ("identity=fail", r#"failed with reason "as configured""#),
            ("revocation=fail", r#"failed with reason "as configured""#),
            (
                "identity=omit",
                r#"failed to verify "SIGNATURE_VERIFIER.TRUSTED_IDENTITY""#,
            ),
            ("processed=none", r#""com.example.stage" was not processed"#),
        ] {
            let configuration = ["--plugin-config", answer];
            let reason = ["--plugin-config", "reason=as configured", "--debug"];
            let stderr = scene.verify(&[configuration.as_slice(), &reason].concat());
            let stderr = stderr.unwrap_err();
            assert!(stderr.contains(error), "{answer}: {stderr}");
        }
    }

    #[test]
    fn notation_refuses_an_envelope_plugin_for_cose() {
        let scene = Scene::new("framework-envelope", "EC-256");
        let error =
            scene
                .notation
                .run_failing(["sign", "--signature-format", "cose", &scene.artifact]);
        assert!(
            error.contains("only JWS envelopes are supported"),
            "{error}"
        );
    }
}
