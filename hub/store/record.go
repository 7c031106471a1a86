// SPDX-License-Identifier: MIT

package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// The file has two buckets, the names of which are the format's: another one is refused, never guessed at. In the first
// are the records, and its sequence is the store's revision. The second is empty: its sequence is the sum of all records'
// weights, so that one that is missing, or is of another time, is noticed.
const (
	recordBucket = "oasis6 records 1"
	sumBucket    = "oasis6 sum 1"
)

// recordHeader is what stands before a value in the file: the revision and a checksum over key, revision and value.
// bbolt has a checksum for its first pages alone.
const recordHeader = 8 + 4

var errDamagedRecord = errors.New("a record is not as it was written")

func encodeRecord(r Record) []byte {
	b := make([]byte, recordHeader, recordHeader+len(r.Value))
	binary.BigEndian.PutUint64(b, uint64(r.Revision))
	b = append(b, r.Value...)
	binary.BigEndian.PutUint32(b[8:], recordSum([]byte(r.Key), b))
	return b
}

// decodeRecord takes the record apart; its Value is part of data.
func decodeRecord(key, data []byte) (Record, error) {
	if len(data) < recordHeader || binary.BigEndian.Uint32(data[8:]) != recordSum(key, data) {
		return Record{}, errDamagedRecord
	}
	return Record{Key: string(key), Revision: Revision(binary.BigEndian.Uint64(data)), Value: data[recordHeader:len(data):len(data)]}, nil
}

// weight is what a record, as it is in the file, adds to the sum: it counts the records and adds their checksums up.
func weight(data []byte) uint64 {
	if len(data) < recordHeader {
		return 0 // there is none
	}
	return 1<<40 + uint64(binary.BigEndian.Uint32(data[8:]))
}

func recordSum(key, data []byte) uint32 {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Checksum(key, castagnoli)
	sum = crc32.Update(sum, castagnoli, data[:8])
	return crc32.Update(sum, castagnoli, data[recordHeader:])
}
