package postgres

import (
	"context"
	"errors"
	"net"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// SQLSTATE codes that mean something to this driver (PostgreSQL documentation, appendix A).
const (
	codeStarting        = "57P03" // cannot_connect_now: starting up, shutting down, not yet consistent
	codeAdminShutdown   = "57P01"
	codeCrashShutdown   = "57P02"
	codeTooMany         = "53300"
	codeNoPassword      = "28000" // invalid_authorization_specification: also "no pg_hba.conf entry"
	codeBadPassword     = "28P01"
	codeNoDatabase      = "3D000"
	codeNoSchema        = "3F000"
	codeNoTable         = "42P01"
	codeNoColumn        = "42703"
	codeNoRights        = "42501"
	codeWrongState      = "55000" // object_not_in_prerequisite_state: "recovery is (not) in progress"
	codeReadOnly        = "25006"
	codeDiskFull        = "53100"
	codeCanceled        = "57014"
	codeDuplicateTable  = "42P07"
	codeDuplicateName   = "42P06"
	codeUnique          = "23505"
	codeNoObject        = "42704"
	codeDuplicateObject = "42710"
	codeInUse           = "55006"
)

// wrap gives a foreign error of a call to the server its kind. It is the only place that does.
func wrap(err error, op, subject string) error {
	if err == nil || failure.Classified(err) {
		return failure.Wrap(err, op, subject)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		kind, hint := kindOfCode(pg.Code)
		return failure.WrapAs(kind, err, op, subject).WithHint("%s", hint)
	}
	var network net.Error
	var dial *pgconn.ConnectError
	switch {
	case errors.Is(err, context.Canceled):
		return failure.WrapAs(failure.Canceled, err, op, subject)
	case errors.As(err, &dial), errors.As(err, &network), errors.Is(err, context.DeadlineExceeded):
		return failure.WrapAs(failure.Unavailable, err, op, subject)
	}
	return failure.WrapAs(failure.Unavailable, err, op, subject)
}

// wrapWrite is wrap for calls that change something: when the connection was lost the call may have had its effect.
func wrapWrite(err error, op, subject string) error {
	var pg *pgconn.PgError
	var dial *pgconn.ConnectError
	if err == nil || failure.Classified(err) || errors.As(err, &pg) || errors.As(err, &dial) {
		return wrap(err, op, subject)
	}
	if errors.Is(err, context.Canceled) {
		return failure.WrapAs(failure.Canceled, err, op, subject)
	}
	return failure.WrapAs(failure.Indeterminate, err, op, subject)
}

func kindOfCode(code string) (failure.Kind, string) {
	switch code {
	case codeStarting, codeAdminShutdown, codeCrashShutdown:
		return failure.Unavailable, ""
	case codeTooMany:
		return failure.Throttled, "the server's connections are used up; superuser_reserved_connections keeps some free for a superuser"
	case codeNoPassword, codeBadPassword:
		return failure.Denied, "look at user, password and the server's pg_hba.conf"
	case codeNoRights:
		return failure.Denied, "the rights that user needs are listed in docs/drivers/postgres.md"
	case codeNoDatabase:
		return failure.NotFound, "look at database in the resource's settings"
	case codeNoSchema, codeNoTable:
		return failure.NotFound, ""
	case codeWrongState, codeReadOnly:
		return failure.Conflict, ""
	case codeDiskFull:
		return failure.Unavailable, "the server's disk is full"
	case codeCanceled:
		return failure.Unavailable, ""
	}
	return failure.Internal, ""
}

// sqlState is the SQLSTATE in err's chain, or "".
func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
