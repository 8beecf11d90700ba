// Package crash kills and freezes the real lifeboat program while it works, and holds that nothing comes of it: a run
// that is taken up again ends well, no acknowledged order is lost, each effect has landed once, and whoever woke too
// late has written nothing.
//
// There are tests only. moments_test.go kills failovers, failbacks and drills of a real PostgreSQL at random moments;
// vault_test.go destroys hosts under a heavy load (load_test.go), of which nothing is left but a vault and the log that the
// other site has received;
// runners_test.go lets two programs compete for one run, records what they say to etcd (proxy_test.go) and judges the
// record (history_test.go). The moments follow from a seed, which is printed; LIFEBOAT_CRASH_SEED repeats it.
// LIFEBOAT_LONG=1 tries many more of them.
//
// It is no test of the engine's own failpoints: those are swept, all of them and in pairs, in package engine.
package crash
