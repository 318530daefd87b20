//! One target byte range rebuilt from base byte ranges: matching, views and residue, as pure functions.
