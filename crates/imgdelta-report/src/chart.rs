//! Bars, drawn as pictures inside a page.
//! Never contains text of a stranger.

use crate::document::tenths;
use std::fmt::{self, Display, Formatter};

/// A horizontal bar: a share of the widest one, in a class of the style.
pub(crate) struct Bar {
    /// Class that gives the colour.
    pub(crate) class: &'static str,
    /// Value of the bar.
    pub(crate) part: u64,
    /// Value of the widest bar.
    pub(crate) whole: u64,
}

impl Display for Bar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let share = tenths(self.part, self.whole);
        // A value that exists is visible.
        let share = if self.part > 0 { share.max(4) } else { 0 };
        write!(
            f,
            "<svg class=\"bar\" aria-hidden=\"true\"><rect class=\"{}\" width=\"{}.{}%\" \
             height=\"100%\"/></svg>",
            self.class,
            share / 10,
            share % 10
        )
    }
}
