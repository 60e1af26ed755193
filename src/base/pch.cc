// The precompiled headers are built with this empty unit.
