//! A few lines at the end of a terminal that are drawn anew again and again, with whatever is said for good above them.

use console::Term;

/// The lines that are on the screen now. The cursor is hidden while there are some.
pub(super) struct Live {
    term: Term,
    drawn: usize,
}

impl Live {
    pub(super) fn new() -> Self {
        Self { term: Term::stdout(), drawn: 0 }
    }

    /// Whether there is anybody to redraw for.
    pub(super) fn is_terminal(&self) -> bool {
        self.term.is_term()
    }

    /// Draws these lines in place of the last ones, in one write, so that nothing flickers. More lines than the terminal
    /// has are cut.
    pub(super) fn draw(&mut self, lines: &[String]) -> std::io::Result<()> {
        let (rows, columns) = self.term.size();
        let mut text = self.back();
        if self.drawn == 0 {
            text.push_str("\x1b[?25l");
        }
        let fit = lines.len().min(usize::from(rows).saturating_sub(1).max(1));
        for line in &lines[..fit] {
            text.push_str(&console::truncate_str(line, usize::from(columns), "…"));
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.drawn = fit;
        self.term.write_str(&text)?;
        self.term.flush()
    }

    /// Says something for good; the next [`draw`](Self::draw) is below it.
    pub(super) fn say(&mut self, line: &str) -> std::io::Result<()> {
        let back = if self.drawn > 0 { format!("{}\x1b[J\x1b[?25h", self.back()) } else { String::new() };
        self.drawn = 0;
        self.term.write_str(&format!("{back}{line}\n"))?;
        self.term.flush()
    }

    /// Leaves the last lines where they are.
    pub(super) fn keep(&mut self) -> std::io::Result<()> {
        if self.drawn > 0 {
            self.drawn = 0;
            self.term.write_str("\x1b[?25h")?;
        }
        self.term.flush()
    }

    fn back(&self) -> String {
        if self.drawn == 0 { String::new() } else { format!("\x1b[{}A\r", self.drawn) }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // A terminal that is gone needs no cursor.
        let _ = self.keep();
    }
}
