// Package e2e runs the lifeboat program as its users do and looks at what it leaves: the whole demo, once to its end
// and once interrupted in the middle, and an old primary that comes back after the app has failed over without it.
//
// There are tests only. They need PostgreSQL's server programs, which test/servers/install.sh brings, and assert
// nothing about how long things take. What becomes of killed programs is in test/crash.
package e2e
