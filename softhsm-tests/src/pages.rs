//! The pages of the documentation as tests read them: blocks of code, and commands with what they print.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of a page, by its path from the root.
///
/// # Panics
/// There is none.
pub fn text(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// `README.md` and `docs/*.md`, from the root.
pub fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            pages.push(format!("docs/{name}"));
        }
    }
    pages.sort();
    pages
}

/// A block of code between fences.
#[derive(Clone, Debug)]
pub struct Block {
    /// The text of the heading above, without the signs.
    pub heading: String,
    /// How many blocks of this language stand before it below the same heading.
    pub nth: usize,
    /// The name after the fence.
    pub language: String,
    pub lines: Vec<String>,
}

impl Block {
    /// Whether its lines are commands for a shell, or show some.
    pub fn is_commands(&self) -> bool {
        let shows = || self.lines.iter().any(|line| line.starts_with("$ "));
        matches!(self.language.as_str(), "console" | "sh") || shows()
    }
}

/// All blocks of a page.
pub fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut heading) = (Vec::<Block>::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        if let Some(title) = line.strip_prefix('#') {
            title
                .trim_start_matches('#')
                .trim()
                .clone_into(&mut heading);
        } else if let Some(language) = line.trim_start().strip_prefix("```") {
            let inside = lines
                .by_ref()
                .take_while(|l| !l.trim_start().starts_with("```"));
            let inside = inside.map(|l| l.get(indent..).unwrap_or_default().to_owned());
            let nth = blocks
                .iter()
                .filter(|b| b.heading == heading && b.language == language);
            blocks.push(Block {
                heading: heading.clone(),
                nth: nth.count(),
                language: language.to_owned(),
                lines: inside.collect(),
            });
        }
    }
    blocks
}

/// A command of a `console` block, and the lines that it prints.
#[derive(Clone, Debug)]
pub struct Step {
    pub command: String,
    pub prints: Vec<String>,
}

/// The block of commands of a page below a heading, by [`Block::nth`].
///
/// # Panics
/// There is none.
pub fn block(page: &str, heading: &str, nth: usize) -> Block {
    let found = blocks(&text(page))
        .into_iter()
        .find(|block| (&*block.heading, block.nth) == (heading, nth) && block.is_commands());
    found.unwrap_or_else(|| panic!("{page} has no block {nth} below {heading:?}"))
}

/// The commands of a `console` block, or of an `sh` block, which prints nothing.
pub fn steps(block: &Block) -> Vec<Step> {
    if block.language == "sh" {
        let command = block.lines.join("\n");
        let prints = Vec::new();
        return vec![Step { command, prints }];
    }
    let (mut steps, mut open) = (Vec::<Step>::new(), false);
    for line in &block.lines {
        if let Some(command) = line.strip_prefix("$ ") {
            let (command, prints) = (command.to_owned(), Vec::new());
            steps.push(Step { command, prints });
            open = true;
        } else if let Some(step) = steps.last_mut() {
            if open {
                step.command.push('\n');
                step.command.push_str(line);
            } else {
                step.prints.push(line.clone());
            }
        }
        open = open
            && steps
                .last()
                .is_some_and(|step| step.command.ends_with('\\'));
    }
    steps
}

/// Whether `printed` is what a page shows: `…` stands for any text in a line, and alone for any lines.
pub fn like(shown: &[String], printed: &[&str]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "…" => {
            (0..=printed.len()).any(|skipped| like(rest, &printed[skipped..]))
        }
        (Some((first, shown)), Some((line, printed))) => {
            matches_line(first, line) && like(shown, printed)
        }
        _ => false,
    }
}

fn matches_line(shown: &str, line: &str) -> bool {
    let Some((start, rest)) = shown.split_once('…') else {
        return shown == line;
    };
    let Some(line) = line.strip_prefix(start) else {
        return false;
    };
    line.char_indices()
        .map(|(at, _)| at)
        .chain([line.len()])
        .any(|at| matches_line(rest, &line[at..]))
}
