package units

import (
	"math"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for _, tc := range []struct {
		in   time.Duration
		want string
	}{
		{0, "0 s"},
		{7 * time.Nanosecond, "7 ns"},
		{420 * time.Microsecond, "420 µs"},
		{85 * time.Millisecond, "85 ms"},
		{999999 * time.Microsecond, "999 ms"},
		{time.Second, "1 s"},
		{1240 * time.Millisecond, "1.24 s"},
		{9999 * time.Millisecond, "9.99 s"},
		{12400 * time.Millisecond, "12.4 s"},
		{59999 * time.Millisecond, "59.9 s"},
		{time.Minute, "1m00s"},
		{192 * time.Second, "3m12s"},
		{time.Hour - time.Nanosecond, "59m59s"},
		{2*time.Hour + 5*time.Minute + 59*time.Second, "2h05m"},
		{76 * time.Hour, "3d04h"},
		{-1500 * time.Millisecond, "-1.5 s"},
		{math.MinInt64, "-106751d23h"},
	} {
		if got := Duration(tc.in); got != tc.want {
			t.Errorf("Duration(%d) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestClock(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0: "0.0 s", 1290 * time.Millisecond: "1.2 s", 59990 * time.Millisecond: "59.9 s", 61 * time.Second: "1m01s",
	} {
		if got := Clock(in); got != want {
			t.Errorf("Clock(%v) = %q, want %q", in, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for in, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 16384: "16 KiB", 1536 << 20: "1.5 GiB", -2048: "-2 KiB",
		math.MaxInt64: "8 EiB",
	} {
		if got := Bytes(in); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", in, got, want)
		}
	}
}

func TestInstants(t *testing.T) {
	zone := time.FixedZone("here", 5400)
	at := time.Date(2026, 3, 1, 3, 4, 5, 678e6, time.UTC)
	if got, want := Instant(at, zone), "2026-03-01 04:34:05 +01:30"; got != want {
		t.Errorf("Instant = %q, want %q", got, want)
	}
	if got, want := InstantMillis(at, time.UTC), "2026-03-01 03:04:05.678 +00:00"; got != want {
		t.Errorf("InstantMillis = %q, want %q", got, want)
	}
	if got, want := Time(at, zone), "04:34:05"; got != want {
		t.Errorf("Time = %q, want %q", got, want)
	}
	for ago, want := range map[time.Duration]string{
		500 * time.Millisecond: "just now", 192 * time.Second: "3m12s ago", -5 * time.Second: "just now", -5 * time.Minute: "in 5m00s",
	} {
		if got := Ago(at, at.Add(ago)); got != want {
			t.Errorf("Ago(%v) = %q, want %q", ago, got, want)
		}
	}
}
