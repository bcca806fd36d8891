//! Rate limits: the script, what asks it, and the programs.

mod counting;
mod programs;
mod script;
