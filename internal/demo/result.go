package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/world"
)

// Result is the outcome of a whole demo: what `lifeboat demo -o json` prints.
type Result struct {
	OK bool `json:"ok"` // no order was lost, no upload but within the RPO, and every check passed, in every operation
	// DB is where the database comes back from: a standby, or the vault.
	DB         world.Recovery `json:"db"`
	Operations []Operation    `json:"operations"`
	// Mistake is what came of rows that were deleted by mistake: with a database that comes back from the vault.
	Mistake *Mistake `json:"mistake,omitempty"`
	Reports string   `json:"reports"` // folder of the reports
	Seconds float64  `json:"seconds"` // how long the demo took, with building the world
	World   string   `json:"world,omitempty"`
	Error   string   `json:"error,omitempty"` // why the demo ended before its end
}

// Mistake is a statement that should not have been run, and what was found in a copy of the moment before it.
type Mistake struct {
	Transaction string  `json:"transaction"`
	Deleted     int     `json:"deleted"` // rows
	Found       int     `json:"found"`   // of them, in the copy
	Seconds     float64 `json:"seconds"` // until the copy answered
}

// Operation is one operation as its users' side and its report saw it. Seconds that were not measured are null.
type Operation struct {
	Operation string `json:"operation"`
	Mode      string `json:"mode,omitempty"`
	From      string `json:"from"`
	To        string `json:"to"`
	Run       string `json:"run"`
	OK        bool   `json:"ok"`

	RTOObjective *float64 `json:"rto_objective_seconds"`
	RPOObjective *float64 `json:"rpo_objective_seconds"`
	// RTOSeconds is from the last good answer before the outage to the first one after it, as the clients got them. In
	// a drill, where no client waits, it is the report's: how long the isolated copy took until it had passed its checks.
	RTOSeconds    *float64 `json:"rto_seconds"`
	ReportRTO     *float64 `json:"report_rto_seconds"`    // the same as the report has it, from its own probe
	RPOSeconds    *float64 `json:"rpo_seconds"`           // from the marker in the recovered database
	OutageSeconds float64  `json:"client_outage_seconds"` // longest time in which no client had a good answer
	WaitSeconds   float64  `json:"longest_order_seconds"` // longest that one client waited for one order, refusals and all
	LateSeconds   float64  `json:"late_seconds"`          // by how much the clients came late to what they wanted to do, in all
	Refused       int      `json:"refused"`               // attempts that failed; each client tried again with the same order

	Acknowledged int      `json:"acknowledged"` // since the start: each one was looked for in the database
	Lost         int      `json:"lost"`
	LostOrders   []string `json:"lost_orders,omitempty"`
	Phantom      int      `json:"phantom"`  // in the database, and never sent
	Repeated     int      `json:"repeated"` // in the database more than once

	Uploads     int `json:"uploads"` // acknowledged since the start, and not told as lost before: each was read back
	UploadsLost int `json:"uploads_lost"`

	ChecksPassed int `json:"checks_passed"`
	ChecksFailed int `json:"checks_failed"`

	OrdersPerSecond Phases[float64] `json:"orders_per_second"`
	// ReplicationLag is the furthest that the standby, or the receiver of the log, was seen behind the primary, in bytes of
	// the log; null while there was none.
	ReplicationLag Phases[*int64] `json:"replication_lag_bytes"`

	ReportHTML string   `json:"report_html"`
	ReportJSON string   `json:"report_json"`
	Problems   []string `json:"problems,omitempty"` // why it is not OK
}

// Phases is one number before, during and after an operation.
type Phases[T any] struct {
	Before T `json:"before"`
	During T `json:"during"`
	After  T `json:"after"`
}

// problem notes why the operation is not OK.
func (o *Operation) problem(format string, args ...any) {
	o.Problems = append(o.Problems, fmt.Sprintf(format, args...))
}

// title names the operation for people.
func (o *Operation) title() string {
	words := o.Operation
	if o.Mode != "" {
		words += " (" + o.Mode + ")"
	}
	return fmt.Sprintf("%s, %s → %s", words, o.From, o.To)
}

// heading begins the operation's table, and gives what writes its rows.
func (o *Operation) heading(out io.Writer) (row func(name, format string, args ...any)) {
	fmt.Fprintf(out, "\n%s\n%s\n", strings.ToUpper(o.title()[:1])+o.title()[1:], strings.Repeat("─", 72))
	return func(name, format string, args ...any) {
		fmt.Fprintf(out, "  %-22s %s\n", name, fmt.Sprintf(format, args...))
	}
}

// footing ends the table.
func (o *Operation) footing(row func(name, format string, args ...any)) {
	row("report", "%s", o.ReportHTML)
	row("", "%s", o.ReportJSON)
	for _, p := range o.Problems {
		row("PROBLEM", "%s", p)
	}
}

// rtoFrom says whose RTO it is.
func (o *Operation) rtoFrom() string {
	if o.Operation == "drill" {
		return "until the copy had passed its checks; no client waited"
	}
	return "measured by the clients"
}

// write prints the operation's table.
func (o *Operation) write(out io.Writer) {
	row := o.heading(out)
	row("objective", "RTO %s, RPO %s", seconds(o.RTOObjective), seconds(o.RPOObjective))
	row("RTO", "%s%s, %s", seconds(o.RTOSeconds), against(o.RTOSeconds, o.RTOObjective), o.rtoFrom())
	row("RPO", "%s%s, from the markers in what was recovered", seconds(o.RPOSeconds), against(o.RPOSeconds, o.RPOObjective))
	row("orders acknowledged", "%d", o.Acknowledged)
	row("orders lost", "%d (compared one by one; %d never sent, %d twice)", o.Lost, o.Phantom, o.Repeated)
	row("uploads", "%d acknowledged, %d lost after the last recovery point (compared byte for byte)", o.Uploads, o.UploadsLost)
	row("checks", "%d passed, %d failed", o.ChecksPassed, o.ChecksFailed)
	row("longest without answer", "%s; one order waited %s at most, %d attempts refused", seconds(&o.OutageSeconds), seconds(&o.WaitSeconds), o.Refused)
	r := o.OrdersPerSecond
	row("orders per second", "%.0f before, %.0f during, %.0f after", r.Before, r.During, r.After)
	l := o.ReplicationLag
	if l.Before != nil || l.During != nil {
		row("replication lag", "%s before, %s during, %s after", size(l.Before), size(l.During), size(l.After))
	}
	o.footing(row)
}

func seconds(s *float64) string {
	if s == nil {
		return "not measured"
	}
	return time.Duration(*s * float64(time.Second)).Round(10 * time.Millisecond).String()
}

func against(measured, objective *float64) string {
	switch {
	case measured == nil || objective == nil:
		return ""
	case *measured <= *objective:
		return " (met)"
	}
	return " (MISSED)"
}

func size(bytes *int64) string {
	if bytes == nil {
		return "no standby"
	}
	return fmt.Sprintf("%.1f kB", float64(*bytes)/1024)
}

// end fills in what is known at the end.
func (r *Result) end(opt Options, began time.Time, runErr error) {
	r.Reports, r.Seconds = opt.Reports, time.Since(began).Seconds()
	r.OK = runErr == nil && len(r.Operations) == 3
	for _, o := range r.Operations {
		r.OK = r.OK && o.OK
	}
	if runErr != nil {
		r.Error = runErr.Error()
	}
}

// write prints the whole result: a document, or the verdict after the tables.
func (r *Result) write(opt Options) error {
	if opt.JSON {
		b, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			_, err = opt.Out.Write(append(b, '\n'))
		}
		if err != nil {
			return failure.WrapAs(failure.Unavailable, err, "write", "result")
		}
		return nil
	}
	lost, failed, uploads := 0, 0, 0
	for _, o := range r.Operations {
		lost, failed, uploads = lost+o.Lost, failed+o.ChecksFailed, uploads+o.UploadsLost
	}
	verdict := "Nothing was lost and every check passed"
	if lost > 0 {
		verdict = fmt.Sprintf("%d writes were lost that came after the last copy, as the RPO says, and no others", lost)
	}
	if uploads > 0 {
		verdict = fmt.Sprintf("No order was lost, %d uploads were that came after the last recovery point, as the RPO says; every check passed", uploads)
	}
	if !r.OK {
		verdict = fmt.Sprintf("NOT well: %d orders lost, %d checks failed; see above", lost, failed)
	}
	took := time.Duration(r.Seconds * float64(time.Second)).Round(time.Second).String()
	if r.DB == OnAWS {
		took += " in the story"
	}
	_, err := fmt.Fprintf(opt.Out, "\n%s. It took %s. The reports are in %s\n", verdict, took, r.Reports)
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "write", "result")
	}
	return nil
}
