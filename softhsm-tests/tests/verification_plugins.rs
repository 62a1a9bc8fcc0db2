//! Verification plugins under `hardsign verify`: a signature that names one, made and judged by our
//! test plugin on the Go plugin framework (PLG-27 to PLG-29, VER-35 to VER-43).

#![allow(clippy::unwrap_used, reason = "a failed harness is a failed test")]

use softhsm_tests::peers::framework;
use softhsm_tests::workbench::Workbench;

const PLUGIN: &str = "framework-envelope-identity-revocation";

#[test]
fn ver_35_the_named_plugin_is_asked_and_its_no_counts() {
    let executable = framework::executable();
    let bench = Workbench::new();
    let reference = bench.reference(&bench.layout.add("v1", "demo"));
    bench.install_plugin(PLUGIN, &executable);
    let keys = bench.path().join("keys");
    let directory = format!("dir={}", keys.display());
    let named = format!("verificationPlugin={PLUGIN}");
    let mut sign = vec![
        "sign",
        "--oci-layout",
        "--plugin",
        PLUGIN,
        "--id",
        "release",
    ];
    for setting in [
        directory.as_str(),
        "keySpec=EC-384",
        named.as_str(),
        "verificationPluginMinVersion=1.0.0",
        "attribute.com.example.stage=qa",
    ] {
        sign.extend(["--plugin-config", setting]);
    }
    sign.push(&reference);
    bench.hardsign_ok(sign);
    bench.trust(&framework::root(&keys, "release"), "strict");

    let verify = [
        "verify",
        "--oci-layout",
        "--scope",
        "local/test",
        &reference,
    ];
    let ran = bench.hardsign_ok(verify);
    assert!(
        ran.stdout
            .starts_with("Successfully verified signature for "),
        "{}",
        ran.stdout
    );
    for (answer, reason) in [
        ("identity=fail", "failed with reason \"as configured\""),
        ("revocation=fail", "failed with reason \"as configured\""),
        (
            "identity=omit",
            "failed to verify \"SIGNATURE_VERIFIER.TRUSTED_IDENTITY\"",
        ),
        ("processed=none", "\"com.example.stage\" was not processed"),
    ] {
        let settings = [
            "--plugin-config",
            answer,
            "--plugin-config",
            "reason=as configured",
        ];
        let ran = bench.hardsign([verify.as_slice(), &settings].concat());
        assert_eq!(ran.code, Some(1), "{answer}: {}", ran.stdout);
        assert!(ran.stderr.contains(reason), "{answer}: {}", ran.stderr);
        assert!(
            !ran.stdout.contains("Successfully"),
            "{answer}: {}",
            ran.stdout
        );
    }

    std::fs::remove_dir_all(bench.config().join("plugins")).unwrap();
    let ran = bench.hardsign(verify);
    // CLI-03: there is no verdict without the plugin.
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    assert!(
        ran.stderr
            .contains("`hardsign plugin install --file <file>` installs one at "),
        "{}",
        ran.stderr
    );
}
