//! What the registry's document keeps for broadcasts: shops, the operator's own categories, the key of the terminals' tokens,
//! and what was decided of single terminals, so that a Redis that was emptied and restored goes by it again.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::resources::Sealed;

/// How long messages and receipts are kept where nothing else is set, in days.
pub const KEPT_DAYS: u32 = 90;
/// Where a terminal is whose shop nobody knows.
pub const UNASSIGNED: &str = "unassigned";

/// A place that broadcasts are for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shop {
    /// Its name, unique; letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The region that it is in, as the operator writes it; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
}

/// A kind of message: what it is called, and what it looks and sounds like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// Its name, unique.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The same in Indonesian, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title_id: Option<String>,
    /// The colour of its frame.
    #[serde(default)]
    pub colour: Colour,
    /// Its sign.
    #[serde(default)]
    pub icon: Icon,
    /// What a terminal plays when one comes.
    #[serde(default)]
    pub sound: Sound,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $word:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $($(#[$of])* #[doc = concat!("`", $text, "`")] $word,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$word),+];

            /// Its word, as it is stored and given.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$word => $text,)+ }
            }

            /// The one of this word.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }
    };
}

words! {
    /// The colours of categories.
    Colour {
        #[default] Blue = "blue",
        Teal = "teal",
        Green = "green",
        Amber = "amber",
        Red = "red",
        Purple = "purple",
        Pink = "pink",
        Grey = "grey",
    }
}

words! {
    /// The signs of categories.
    Icon {
        #[default] Megaphone = "megaphone",
        Tag = "tag",
        Percent = "percent",
        Gift = "gift",
        Truck = "truck",
        Box = "box",
        Clock = "clock",
        Calendar = "calendar",
        Warning = "warning",
        Info = "info",
        Star = "star",
        Wrench = "wrench",
    }
}

words! {
    /// The sounds of categories.
    Sound {
        #[default] Chime = "chime",
        Bell = "bell",
        Ping = "ping",
        Rise = "rise",
        Alert = "alert",
        None = "none",
    }
}

/// The categories that are always there.
#[must_use]
pub fn built_in() -> [Category; 3] {
    let category = |name: &str, title: &str, title_id: &str, colour, icon, sound| Category {
        name: name.into(),
        title: title.into(),
        title_id: Some(title_id.into()),
        colour,
        icon,
        sound,
    };
    [
        category("announcement", "Announcement", "Pengumuman", Colour::Blue, Icon::Megaphone, Sound::Chime),
        category("price", "Price information", "Informasi harga", Colour::Amber, Icon::Tag, Sound::Bell),
        category("discount", "Discount information", "Informasi diskon", Colour::Green, Icon::Percent, Sound::Rise),
    ]
}

/// The built-in categories and the operator's own, one of which may stand in a built-in one's place.
#[must_use]
pub fn all_categories(own: &[Category]) -> Vec<Category> {
    let mut all: Vec<Category> =
        built_in().into_iter().map(|one| own.iter().find(|own| own.name == one.name).cloned().unwrap_or(one)).collect();
    let more: Vec<Category> =
        own.iter().filter(|one| all.iter().all(|known| known.name != one.name)).cloned().collect();
    all.extend(more);
    all
}

/// What the terminals' tokens are made with: 32 random bytes, base64; sealed where there is a master key. It does not print
/// itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TerminalKey {
    /// With the master key, for [`TERMINAL_KEY_ID`].
    Sealed(Sealed),
    /// Where there is none.
    Plain {
        /// The bytes, base64.
        secret: String,
    },
}

/// What the terminals' key is sealed for.
pub const TERMINAL_KEY_ID: &str = "terminal-key";

impl fmt::Debug for TerminalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TerminalKey")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_own_category_may_stand_in_a_built_in_ones_place() {
        let mut own = built_in()[1].clone();
        own.colour = Colour::Red;
        let more = Category { name: "recall".into(), title: "Recall".into(), ..own.clone() };
        let all = all_categories(&[more, own]);
        let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["announcement", "price", "discount", "recall"]);
        assert_eq!(all[1].colour, Colour::Red);
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for icon in Icon::ALL {
            assert_eq!(serde_json::to_value(icon).unwrap(), icon.as_str());
            assert_eq!(Icon::parse(icon.as_str()), Some(*icon));
        }
    }

    #[test]
    fn the_key_does_not_print_itself() {
        let key = TerminalKey::Plain { secret: "canary".into() };
        assert!(!format!("{key:?}").contains("canary"));
    }
}
