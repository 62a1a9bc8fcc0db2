//! Trees as `list` and `inspect` print them (CLI-44, CLI-47 to CLI-50).

use super::one_line;

/// A line with lines below it.
#[derive(Debug)]
pub(crate) struct Node {
    label: String,
    children: Vec<Node>,
}

impl Node {
    /// A node; what is foreign in `label` is made harmless.
    pub(crate) fn new(label: impl AsRef<str>) -> Self {
        Self {
            label: one_line(label.as_ref()),
            children: Vec::new(),
        }
    }

    /// Adds a node below this one, and returns it.
    pub(crate) fn add(&mut self, label: impl AsRef<str>) -> &mut Self {
        self.children.push(Self::new(label));
        let last = self.children.len() - 1;
        &mut self.children[last]
    }

    /// Adds `<key>: <value>` below this one.
    pub(crate) fn pair(&mut self, key: &str, value: impl std::fmt::Display) {
        self.add(format!("{key}: {value}"));
    }

    /// The tree as text, the root first, each line with its newline.
    pub(crate) fn render(&self) -> String {
        let mut out = format!("{}\n", self.label);
        self.render_children("", &mut out);
        out
    }

    fn render_children(&self, prefix: &str, out: &mut String) {
        let Some((last, others)) = self.children.split_last() else {
            return;
        };
        for child in others {
            out.push_str(&format!("{prefix}├── {}\n", child.label));
            child.render_children(&format!("{prefix}│   "), out);
        }
        out.push_str(&format!("{prefix}└── {}\n", last.label));
        last.render_children(&format!("{prefix}    "), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cli_50_prefixes() {
        let mut root = Node::new("root");
        let first = root.add("first");
        first.pair("a", 1);
        first.add("b");
        root.add("second").add("c\x1b[1m");
        assert_eq!(
            root.render(),
            "root\n├── first\n│   ├── a: 1\n│   └── b\n└── second\n    └── c\\u{1b}[1m\n"
        );
    }
}
