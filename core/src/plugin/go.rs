//! Texts as the Go reference spells them, where users and scripts see them.

use std::process::ExitStatus;

/// How a process ended: `exit status 4`, `signal: killed`.
pub(super) fn exit_text(status: Option<ExitStatus>) -> String {
    let Some(status) = status else {
        return "the process could not be waited for".into();
    };
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return match signal {
            4 => "signal: illegal instruction".into(),
            6 => "signal: aborted".into(),
            7 => "signal: bus error".into(),
            8 => "signal: floating point exception".into(),
            9 => "signal: killed".into(),
            11 => "signal: segmentation fault".into(),
            13 => "signal: broken pipe".into(),
            15 => "signal: terminated".into(),
            other => format!("signal: {other}"),
        };
    }
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}

/// Operating system and processor in Go's spelling: `linux/amd64`.
// PLI-17
pub fn platform() -> String {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    };
    format!("{os}/{arch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        #[cfg(unix)]
        {
            use std::os::unix::process::ExitStatusExt;
            assert_eq!(
                exit_text(Some(ExitStatus::from_raw(4 << 8))),
                "exit status 4"
            );
            assert_eq!(exit_text(Some(ExitStatus::from_raw(9))), "signal: killed");
        }
        assert_eq!(platform().split('/').count(), 2);
    }
}
