package etcd

import (
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// When the host makes its database smaller. etcd's own compactor by revisions looks every five minutes only, in which a
// busy run can write a gigabyte.
const (
	smallEvery  = time.Second
	defragAbove = 64 << 20 // bytes of database file of which half is unused
	alarmAbove  = quotaBytes / 10 * 6
	defragPause = time.Minute // between two: each stops writes for as long as the used part takes to copy
)

// keepSmall forgets old revisions and gives unused space back, until the host stops.
func (h *host) keepSmall() {
	defer h.work.Done()
	tick := time.NewTicker(smallEvery)
	defer tick.Stop()
	var compacted int64
	var defragged time.Time
	for {
		select {
		case <-h.life.Done():
			return
		case <-h.gaveUp.c:
			return
		case <-tick.C:
		}
		rev := h.etcd.Server.KV().Rev()
		retain := h.opt.Retain
		backend := h.etcd.Server.Backend()
		if backend.Size() > alarmAbove {
			h.opt.Logger.Warn("the journal is large", "bytes", backend.Size(), "quota", int64(quotaBytes))
			retain = 0
		}
		if rev-compacted >= 2*retain && rev > compacted {
			if _, err := h.link.etcd.Compact(h.life, rev-retain); err == nil {
				compacted = rev - retain
			}
		}
		size := backend.Size()
		if size > defragAbove && backend.SizeInUse() < size/2 && time.Since(defragged) > defragPause {
			defragged = time.Now()
			if err := backend.Defrag(); err != nil {
				h.opt.Logger.Warn("the journal could not be defragmented", "error", err)
			}
			h.disarm()
		}
	}
}

// disarm ends the read-only state that a full database leaves behind, once it has room again.
func (h *host) disarm() {
	if h.etcd.Server.Backend().Size() > alarmAbove {
		return
	}
	if _, err := h.link.etcd.AlarmDisarm(h.life, &clientv3.AlarmMember{}); err != nil {
		h.opt.Logger.Debug("alarms", "error", failure.From(err))
	}
}
