//! Words in columns: plain text, readable without colour and in any width.

/// Rows with as many cells each; columns whose heading begins with `>` are aligned to the right.
pub(super) struct Table {
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(super) fn new(headings: &[&str]) -> Self {
        let right = headings.iter().map(|heading| heading.starts_with('>')).collect();
        let headings = headings.iter().map(|heading| heading.trim_start_matches('>').to_owned());
        Self { right, rows: vec![headings.collect()] }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The rows as lines; nothing without a row below the headings.
    pub(super) fn text(&self) -> String {
        if self.rows.len() < 2 {
            return String::new();
        }
        let widths: Vec<usize> = (0..self.right.len())
            .map(|column| self.rows.iter().map(|row| width(&row[column])).max().unwrap_or(0))
            .collect();
        let lines: Vec<_> = self.rows.iter().map(|row| self.line(row, &widths)).collect();
        lines.concat()
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, width_max), right) in row.iter().zip(widths).zip(&self.right) {
            let space = " ".repeat(width_max - width(cell));
            let (before, after) =
                if *right { (space, String::new()) } else { (String::new(), space) };
            line = line + &before + cell + &after + "  ";
        }
        line.trim_end().to_owned() + "\n"
    }
}

/// Names and values below each other; a line whose value is empty is left out.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let facts = facts.iter().filter(|(_, value)| !value.is_empty());
    let longest = facts.clone().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<_> = facts.map(|(name, value)| format!("{name:longest$}  {value}\n")).collect();
    lines.concat()
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let mut table = Table::new(&["name", ">credits", "note"]);
        table.row(["a".into(), "2.5".into(), "x".into()]);
        table.row(["später".into(), "100".into(), String::new()]);
        let expected = "name    credits  note\na           2.5  x\nspäter      100\n";
        assert_eq!(table.text(), expected);
        assert_eq!(Table::new(&["name"]).text(), "");
    }

    #[test]
    fn facts_are_aligned_and_empty_ones_left_out() {
        let shown =
            facts(&[("account", "acme".into()), ("ends", String::new()), ("gate", "open".into())]);
        assert_eq!(shown, "account  acme\ngate     open\n");
    }
}
