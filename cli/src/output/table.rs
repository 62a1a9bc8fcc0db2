//! Tables: in the shape that scripts know, and so that they fit a terminal.

use super::one_line;

/// Columns padded to the widest cell plus three spaces, the last one too (CLI-15).
pub(crate) fn padded<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let rows = cells(header, rows);
    let widths = widths(&rows, |cell| cell.chars().count());
    let mut out = String::new();
    for row in &rows {
        for (width, cell) in widths.iter().zip(row) {
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', width + GAP - cell.chars().count()));
        }
        out.push('\n');
    }
    out
}

/// The same within a number of columns. Long cells go on below themselves, between words alone: no
/// word is cut. Where that does not help, each row is a block of lines, one for each cell.
pub(crate) fn fitted<const N: usize>(
    header: [&str; N],
    rows: &[[String; N]],
    columns: usize,
) -> String {
    let cells = cells(header, rows);
    let natural = widths(&cells, |cell| cell.chars().count());
    let least = widths(&cells, |cell| {
        cell.split(' ')
            .map(|word| word.chars().count())
            .max()
            .unwrap_or(0)
    });
    let room = columns.saturating_sub(GAP * N.saturating_sub(1));
    if least.iter().sum::<usize>() > room {
        return blocks(header, rows, columns);
    }
    let mut widths = least;
    let mut left = room - widths.iter().sum::<usize>();
    // The column that lacks most gets the next one.
    while left > 0 {
        let lacking = |column: &usize| natural[*column].saturating_sub(widths[*column]);
        let Some(column) = (0..N)
            .max_by_key(lacking)
            .filter(|column| lacking(column) > 0)
        else {
            break;
        };
        widths[column] += 1;
        left -= 1;
    }
    let mut out = String::new();
    for row in &cells {
        let mut parts = [const { Vec::new() }; N];
        for (column, cell) in row.iter().enumerate() {
            parts[column] = wrapped(cell, widths[column]);
        }
        let height = parts.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            let mut text = String::new();
            for (column, part) in parts.iter().enumerate() {
                let cell = part.get(line).map_or("", String::as_str);
                text.push_str(cell);
                let padding = widths[column] + GAP - cell.chars().count();
                text.extend(std::iter::repeat_n(' ', padding));
            }
            out.push_str(text.trim_end());
            out.push('\n');
        }
    }
    out
}

/// Each row as lines of a column's name and the cell.
fn blocks<const N: usize>(header: [&str; N], rows: &[[String; N]], columns: usize) -> String {
    let names = header.iter().map(|name| name.len()).max().unwrap_or(0) + GAP;
    let mut out = String::new();
    for (number, row) in rows.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        for (name, cell) in header.iter().zip(row) {
            let lines = wrapped(&one_line(cell), columns.saturating_sub(names));
            for (number, line) in lines.iter().enumerate() {
                let name = if number == 0 { *name } else { "" };
                out.push_str(format!("{name:names$}{line}").trim_end());
                out.push('\n');
            }
        }
    }
    if rows.is_empty() {
        out.push_str(&header.join("   "));
        out.push('\n');
    }
    out
}

/// A text as lines of that many columns, where its words allow it; at least one line.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let length = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && length > columns {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

fn cells<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> Vec<[String; N]> {
    std::iter::once(header.map(str::to_owned))
        .chain(
            rows.iter()
                .map(|row| row.clone().map(|cell| one_line(&cell))),
        )
        .collect()
}

fn widths<const N: usize>(rows: &[[String; N]], width: impl Fn(&str) -> usize) -> [usize; N] {
    let mut widths = [0; N];
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    widths
}

/// Spaces between columns.
const GAP: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn rows<const N: usize>(rows: &[[&str; N]]) -> Vec<[String; N]> {
        rows.iter().map(|row| row.map(str::to_owned)).collect()
    }

    #[test]
    fn cli_15_every_cell_is_padded() {
        assert_eq!(padded(["KEY", "VALUE"], &[]), "KEY   VALUE   \n");
        assert_eq!(
            padded(["KEY", "VALUE"], &rows(&[["build", "17"]])),
            "KEY     VALUE   \nbuild   17      \n"
        );
    }

    #[test]
    fn long_cells_go_on_below_themselves() {
        let listed = rows(&[
            ["local", "signs with keys in files", "[RAW KEYS]"],
            ["x", "", "[]"],
        ]);
        let header = ["NAME", "DESCRIPTION", "CAPABILITIES"];
        assert_eq!(
            fitted(header, &listed, 38),
            "NAME    DESCRIPTION       CAPABILITIES\n\
             local   signs with keys   [RAW KEYS]\n        in files\n\
             x                         []\n"
        );
        assert_eq!(fitted(header, &listed, 200).lines().count(), 3);
    }

    /// A digest or an id is one word, which is never cut.
    #[test]
    fn what_is_too_wide_is_told_in_blocks() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let listed = rows(&[["one", &digest], ["two words", "b"]]);
        let text = fitted(["NAME", "DIGEST"], &listed, 40);
        assert_eq!(
            text,
            format!("NAME     one\nDIGEST   {digest}\n\nNAME     two words\nDIGEST   b\n")
        );
        assert_eq!(fitted(["NAME", "DIGEST"], &[], 5), "NAME   DIGEST\n");
    }

    #[test]
    fn words_are_kept_whole() {
        assert_eq!(wrapped("", 4), [""]);
        assert_eq!(wrapped("ab cd e", 5), ["ab cd", "e"]);
        assert_eq!(wrapped("abcdef g", 3), ["abcdef", "g"]);
    }
}
