// Package all is the one list of drivers that a Lifeboat binary has. It is explicit: a driver that is not named here is
// not in the binary. It holds no logic.
package all

import (
	"log/slog"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/aurora"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/elasticache"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/rds"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/route53"
	"github.com/lifeboat-dr/lifeboat/drivers/check"
	"github.com/lifeboat-dr/lifeboat/drivers/command"
	"github.com/lifeboat-dr/lifeboat/drivers/dns"
	"github.com/lifeboat-dr/lifeboat/drivers/files"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres"
)

// Registry makes every driver. Each call makes new ones; the fake's worlds are in memory unless a resource's settings
// name a file for them.
func Registry(log *slog.Logger) *driver.Registry {
	return On(log, awsbase.New(awsbase.Options{Log: log}))
}

// On is Registry with what the drivers of AWS reach AWS by.
func On(log *slog.Logger, base *awsbase.Base) *driver.Registry {
	world := fake.NewWorld()
	return driver.NewRegistry(
		aurora.New(base),
		aurora.NewCluster(base),
		check.NewExec(log),
		check.NewHTTP(),
		check.NewSQL(),
		check.NewTCP(),
		command.New(log),
		dns.New(log),
		elasticache.NewGlobal(base),
		elasticache.NewGroup(base),
		fake.New(world),
		fake.New(world, fake.Stateful()),
		files.New(log),
		postgres.New(log),
		rds.New(base),
		route53.New(base),
	)
}
