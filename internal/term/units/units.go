// Package units writes durations, sizes and instants the way people read them at 3 a.m.: few digits, a unit on each
// number, an offset on each clock time. It is for eyes only; what programs read is written by package model.
package units

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration writes d with about three significant digits below a minute and whole units above: "420 µs", "85 ms",
// "1.24 s", "12.4 s", "3m12s", "2h05m", "3d04h". A negative duration gets a minus sign.
func Duration(d time.Duration) string {
	if d < 0 {
		if d == -d { // the most negative duration has no positive counterpart
			d++
		}
		return "-" + Duration(-d)
	}
	switch {
	case d == 0:
		return "0 s"
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return trimZeros(d.Truncate(10*time.Millisecond).Seconds(), 2) + " s"
	case d < time.Minute:
		return trimZeros(d.Truncate(100*time.Millisecond).Seconds(), 1) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// Clock writes a running duration for a display that is redrawn: tenths of a second below a minute, so that its
// width changes rarely.
func Clock(d time.Duration) string {
	if d >= 0 && d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Truncate(100*time.Millisecond).Seconds())
	}
	return Duration(d)
}

func trimZeros(v float64, digits int) string {
	s := strconv.FormatFloat(v, 'f', digits, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// Bytes writes a size in binary units: "512 B", "16 KiB", "1.5 GiB".
func Bytes(n int64) string {
	const prefixes = "KMGTPE"
	if n > -1024 && n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for (v >= 1024 || v <= -1024) && i < len(prefixes)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%s %ciB", trimZeros(v, 1), prefixes[i])
}

// Instant writes t in zone with its offset: "2026-03-01 03:04:05 +01:00". A nil zone is the local one.
func Instant(t time.Time, zone *time.Location) string {
	return t.In(or(zone)).Format("2006-01-02 15:04:05 -07:00")
}

// InstantMillis is Instant with milliseconds: "2026-03-01 03:04:05.678 +01:00".
func InstantMillis(t time.Time, zone *time.Location) string {
	return t.In(or(zone)).Format("2006-01-02 15:04:05.000 -07:00")
}

// Time writes the time of day in zone: "03:04:05".
func Time(t time.Time, zone *time.Location) string { return t.In(or(zone)).Format("15:04:05") }

// Ago writes how long before now t was: "12 s ago", "3m12s ago"; "just now" within a second, "in 5m00s" for the
// future. Up to a minute of that is the difference of two machines' clocks: just now.
func Ago(t, now time.Time) string {
	d := now.Sub(t).Truncate(time.Second)
	switch {
	case d <= -time.Minute:
		return "in " + Duration(-d)
	case d <= 0:
		return "just now"
	}
	return Duration(d) + " ago"
}

func or(zone *time.Location) *time.Location {
	if zone == nil {
		return time.Local
	}
	return zone
}
