//! Tables and trees in the shape that scripts know.

use super::one_line;

/// Columns padded to the widest cell plus three spaces, the last one too (CLI-15).
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = std::iter::once(header.map(str::to_owned))
        .chain(
            rows.iter()
                .map(|row| row.clone().map(|cell| one_line(&cell))),
        )
        .collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in &rows {
        for (width, cell) in widths.iter().zip(row) {
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', width + 3 - cell.chars().count()));
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cli_15_every_cell_is_padded() {
        assert_eq!(table(["KEY", "VALUE"], &[]), "KEY   VALUE   \n");
        assert_eq!(
            table(["KEY", "VALUE"], &[["build".to_owned(), "17".to_owned()]]),
            "KEY     VALUE   \nbuild   17      \n"
        );
    }
}
