package failure

import "net/http"

// Severity is how loudly health reports a failure.
type Severity string

// The severities, from quiet to loud.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// projection is what one kind means elsewhere.
type projection struct {
	retry    bool
	status   int
	exit     int
	severity Severity
}

// projections is the whole meaning of the taxonomy, one row a kind.
var projections = [...]projection{
	Internal:      {false, http.StatusInternalServerError, 70, Critical},
	NotFound:      {false, http.StatusNotFound, 4, Warning},
	Exists:        {false, http.StatusConflict, 5, Warning},
	Invalid:       {false, http.StatusBadRequest, 2, Warning},
	Denied:        {false, http.StatusForbidden, 6, Critical},
	Conflict:      {true, http.StatusConflict, 7, Warning},
	Throttled:     {true, http.StatusTooManyRequests, 8, Info},
	Unavailable:   {true, http.StatusServiceUnavailable, 9, Critical},
	Unsupported:   {false, http.StatusNotImplemented, 10, Warning},
	Corrupt:       {false, http.StatusUnprocessableEntity, 11, Critical},
	Indeterminate: {true, http.StatusBadGateway, 12, Critical},
	Canceled:      {false, 499, 130, Info},
}

// Retryable reports whether the engine may try again by itself, after observing what the last attempt left.
func (k Kind) Retryable() bool { return k.projection().retry }

// HTTPStatus is the status that an API answers with.
func (k Kind) HTTPStatus() int { return k.projection().status }

// ExitCode is the code that a command exits with. 0 is success and 1 is "the operation ran and did not succeed".
func (k Kind) ExitCode() int { return k.projection().exit }

// Severity is how health reports it.
func (k Kind) Severity() Severity { return k.projection().severity }

func (k Kind) projection() projection {
	if int(k) < len(projections) {
		return projections[k]
	}
	return projections[Internal]
}
