// Package location goes from a configured vault to an open one: where it is, in restic's spelling; who is asking, from
// references to secrets; and what is laid around the store.
//
// It knows no commands and no configuration files. From the store outwards these are laid around it: a bound on calls
// at once and on bytes per second (each attempt counts), retries with backoff (a slot is not held while it waits), a
// local cache of metadata (what is in it asks nobody). Start with [Open] or [Init]; with [Parse] and [Redact] when only
// a URL is to be understood or shown.
package location
