package preflight

// Probed reports whether a call tells by itself whether a permission is there.
func Probed(call string) bool { return probes[call] != nil }
