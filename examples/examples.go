// Package examples holds what users are shown, for those who carry it out: the demo, and the tests. To start, see the folders
// beside this file.
package examples

import _ "embed"

// AWSDatabases is the configuration that docs/aws-databases.md is about.
//
//go:embed aws-databases/lifeboat.yaml
var AWSDatabases string
