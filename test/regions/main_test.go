package regions

import (
	"os"
	"testing"

	"github.com/lifeboat-dr/lifeboat/test/program"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }
