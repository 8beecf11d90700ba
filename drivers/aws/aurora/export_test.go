package aurora

import "time"

// LookingEvery makes a driver ask to be observed again after a pause of the test's own: its clock may run fast.
func (d *Driver) LookingEvery(pause time.Duration) *Driver {
	d.again = pause
	return d
}
