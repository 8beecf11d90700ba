package longwork

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/driver"
)

// Capture begins a [driver.Capturer]'s work.
func (f Frame[W, H]) Capture(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return f.begin(ctx, req)
}

// Copy begins a [driver.Copier]'s work.
func (f Frame[W, H]) Copy(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return f.begin(ctx, req)
}

// Expire begins a [driver.Expirer]'s work.
func (f Frame[W, H]) Expire(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return f.begin(ctx, req)
}

// Prove begins a [driver.Prover]'s work.
func (f Frame[W, H]) Prove(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return f.begin(ctx, req)
}

// Restore begins a [driver.Restorer]'s work.
func (f Frame[W, H]) Restore(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return f.begin(ctx, req)
}

// Drill begins a [driver.Driller]'s work.
func (f Frame[W, H]) Drill(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return f.begin(ctx, req)
}

// Release begins a [driver.Releaser]'s work.
func (f Frame[W, H]) Release(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return f.begin(ctx, req)
}

// Fence begins a [driver.Fencer]'s work.
func (f Frame[W, H]) Fence(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return f.begin(ctx, req)
}

// Quiesce begins a [driver.Quiescer]'s work.
func (f Frame[W, H]) Quiesce(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return f.begin(ctx, req)
}

// Promote begins a [driver.Promoter]'s work.
func (f Frame[W, H]) Promote(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return f.begin(ctx, req)
}

// Reverse begins a [driver.Reverser]'s work.
func (f Frame[W, H]) Reverse(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return f.begin(ctx, req)
}
