package regions

import (
	"fmt"
	"os"
	"testing"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/test/program"
)

func TestMain(m *testing.M) {
	// Every world gives the account the same credentials, and the example finds them where the SDK looks by itself. They are set
	// once, so that tests run side by side.
	key := awstest.New(awstest.Options{}).Account(account)
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": key.AccessKey, "AWS_SECRET_ACCESS_KEY": key.SecretKey, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_EC2_METADATA_DISABLED": "true"} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(program.Main(m))
}
