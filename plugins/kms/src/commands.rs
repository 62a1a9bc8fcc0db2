//! The commands that give credentials, ended with the wait for them.

/// Ends the processes that this one has started and still has, and theirs: what the services' libraries
/// run for a credential, they leave running when the wait for it is over. A shell in between would leave
/// what it runs, so the whole tree is ended.
///
/// A command stays in the process group of the terminal, since it may ask for something there. What has made
/// itself independent, as a daemon does, is not ended; nor is anything on Windows.
pub fn end_commands() {
    #[cfg(unix)]
    unix::end_below(std::process::id());
}

#[cfg(unix)]
mod unix {
    use std::collections::HashSet;
    use std::fs;
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, Signal, kill_process};

    pub(super) fn end_below(root: u32) {
        let all = match cfg!(target_os = "linux") {
            true => by_proc(),
            false => by_ps(),
        };
        for process in below(root, &all) {
            let process = i32::try_from(process).ok().and_then(Pid::from_raw);
            if let Some(process) = process {
                // One that has ended meanwhile needs no end.
                let _ended = kill_process(process, Signal::KILL);
            }
        }
    }

    /// A process and the one that started it.
    type Started = (u32, u32);

    /// Those that descend from `root`.
    pub(super) fn below(root: u32, all: &[Started]) -> Vec<u32> {
        let mut found = vec![root];
        let mut known = HashSet::from([root]);
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            next += 1;
            let children = all.iter().filter(|(_, of)| *of == parent);
            found.extend(
                children
                    .map(|(child, _)| *child)
                    .filter(|child| known.insert(*child)),
            );
        }
        found.split_off(1)
    }

    /// Linux; needs no program.
    pub(super) fn by_proc() -> Vec<Started> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let process = entry.file_name().to_str()?.parse().ok()?;
                let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
                // `PID (name) STATE PPID …`, and a name may have any characters.
                let (_, rest) = stat.rsplit_once(')')?;
                let parent = rest.split_whitespace().nth(1)?.parse().ok()?;
                Some((process, parent))
            })
            .collect()
    }

    /// Any other, by POSIX.
    pub(super) fn by_ps() -> Vec<Started> {
        #[allow(
            clippy::disallowed_methods,
            reason = "the system has no other way to say it that is the same everywhere"
        )]
        let mut ps = Command::new("ps");
        ps.args(["-A", "-o", "pid=", "-o", "ppid="]);
        let Ok(output) = ps.stdin(Stdio::null()).stderr(Stdio::null()).output() else {
            return Vec::new();
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = |line: &str| {
            let (process, parent) = line.trim().split_once(' ')?;
            Some((process.parse().ok()?, parent.trim().parse().ok()?))
        };
        text.lines().filter_map(line).collect()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use super::unix::{below, by_proc, by_ps, end_below};

    #[test]
    fn a_tree_is_those_that_descend() {
        let all = [
            (1, 0),
            (7, 1),
            (8, 7),
            (9, 8),
            (10, 7),
            (11, 1),
            (12, 11),
            (0, 0),
        ];
        let mut found = below(7, &all);
        found.sort_unstable();
        assert_eq!(found, [8, 9, 10]);
        assert_eq!(below(9, &all), Vec::<u32>::new());
        // Nothing that is read in the middle of a change makes it endless.
        assert_eq!(below(1, &[(2, 1), (1, 2)]), [2]);
    }

    #[test]
    fn a_command_and_what_it_runs_are_ended() {
        #[allow(clippy::disallowed_methods, reason = "a program that does not end")]
        let mut shell = Command::new("sh");
        // The shell waits for two that it has started.
        shell.args(["-c", "sleep 600 & sleep 600; true"]);
        let mut shell = shell.stdin(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        let patience = Duration::from_secs(20);
        let mut tree = Vec::new();
        while tree.len() < 2 {
            assert!(start.elapsed() < patience, "{tree:?}");
            sleep(Duration::from_millis(10));
            tree = below(shell.id(), &by_proc());
        }
        for child in &tree {
            assert!(below(shell.id(), &by_ps()).contains(child));
        }
        end_below(shell.id());
        let ended = |process: &u32| {
            let all = by_proc();
            // One whose parent does not ask for its end stays in the list.
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
            !all.iter().any(|(known, _)| known == process)
                || stat.is_ok_and(|stat| stat.contains(") Z "))
        };
        while !tree.iter().all(ended) {
            assert!(start.elapsed() < patience, "{tree:?} still run");
            sleep(Duration::from_millis(10));
        }
        // It was asked to end those below the shell; without them it goes on and ends.
        assert!(shell.wait().unwrap().success());
    }
}
