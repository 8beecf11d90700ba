package crash

import (
	"os"
	"testing"

	"github.com/lifeboat-dr/lifeboat/test/program"
)

// TestMain builds the program. With etcdEnv set the test binary is an etcd, as a user would have one.
func TestMain(m *testing.M) {
	if folder := os.Getenv(etcdEnv); folder != "" {
		os.Exit(serveEtcd(folder))
	}
	os.Exit(program.Main(m))
}
