#include "cluster.h"

#include <algorithm>

namespace {

int64_t now_version() {
	// Far from zero from the start, as a cluster's versions are.
	static const auto start = Clock::now() - std::chrono::hours(1);
	return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count();
}

Bytes next_key(const Bytes& key) { return key + '\0'; }

// Both operands as unsigned little-endian numbers of the parameter's length.
int compare_numbers(const Bytes& a, const Bytes& b) {
	for (size_t i = b.size(); i-- > 0;)
		if (a[i] != b[i])
			return static_cast<uint8_t>(a[i]) < static_cast<uint8_t>(b[i]) ? -1 : 1;
	return 0;
}

void put_big_endian(Bytes& to, size_t at, uint64_t n, int width) {
	for (int i = 0; i < width; i++)
		to[at + i] = static_cast<char>(n >> (8 * (width - 1 - i)));
}

// stamp writes the versionstamp into text at the offset that its last four bytes tell, and drops those.
Bytes stamp(Bytes text, int64_t version) {
	uint32_t at = 0;
	for (int i = 0; i < 4; i++)
		at |= static_cast<uint32_t>(static_cast<uint8_t>(text[text.size() - 4 + i])) << (8 * i);
	text.resize(text.size() - 4);
	put_big_endian(text, at, static_cast<uint64_t>(version), 8);
	put_big_endian(text, at + 8, 0, 2); // every commit has a version of its own
	return text;
}

} // namespace

Maybe applied(const Atomic& op, const Maybe& old) {
	const Bytes& by = op.parameter;
	Bytes base = old.value_or("");
	switch (op.type) {
	case FDB_MUTATION_TYPE_BYTE_MIN:
		return old ? std::min(base, by) : by;
	case FDB_MUTATION_TYPE_BYTE_MAX:
		return old ? std::max(base, by) : by;
	case FDB_MUTATION_TYPE_APPEND_IF_FITS:
		return base.size() + by.size() <= max_value ? base + by : base;
	case FDB_MUTATION_TYPE_COMPARE_AND_CLEAR:
		return old && base == by ? Maybe() : old;
	case FDB_MUTATION_TYPE_BIT_AND:
	case FDB_MUTATION_TYPE_MIN:
		if (!old) // since API version 510
			return by;
		break;
	default:
		break;
	}
	base.resize(by.size(), '\0');
	switch (op.type) {
	case FDB_MUTATION_TYPE_ADD: {
		unsigned carry = 0;
		for (size_t i = 0; i < by.size(); i++) {
			carry += static_cast<uint8_t>(base[i]) + static_cast<uint8_t>(by[i]);
			base[i] = static_cast<char>(carry);
			carry >>= 8;
		}
		return base;
	}
	case FDB_MUTATION_TYPE_MAX:
		return compare_numbers(base, by) > 0 ? base : by;
	case FDB_MUTATION_TYPE_MIN:
		return compare_numbers(base, by) < 0 ? base : by;
	default:
		for (size_t i = 0; i < by.size(); i++)
			switch (op.type) {
			case FDB_MUTATION_TYPE_BIT_AND:
				base[i] &= by[i];
				break;
			case FDB_MUTATION_TYPE_BIT_OR:
				base[i] |= by[i];
				break;
			case FDB_MUTATION_TYPE_BIT_XOR:
				base[i] ^= by[i];
				break;
			default:
				throw Fail{invalid_mutation};
			}
		return base;
	}
}

void Writes::clear(const Bytes& begin, const Bytes& end) {
	keys.erase(keys.lower_bound(begin), keys.lower_bound(end));
	Bytes from = begin, to = end;
	auto it = cleared.upper_bound(begin);
	if (it != cleared.begin() && std::prev(it)->second >= begin)
		--it;
	while (it != cleared.end() && it->first <= to) { // swallow what it touches
		from = std::min(from, it->first);
		to = std::max(to, it->second);
		it = cleared.erase(it);
	}
	cleared[from] = to;
}

bool Writes::clears(const Bytes& key) const {
	auto it = cleared.upper_bound(key);
	return it != cleared.begin() && std::prev(it)->second > key;
}

void Writes::atomic(const Bytes& key, const Atomic& op) {
	auto it = keys.find(key);
	if (it == keys.end()) {
		Write fresh;
		fresh.known = clears(key);
		it = keys.emplace(key, fresh).first;
	}
	if (it->second.known && !it->second.stamped)
		it->second.value = applied(op, it->second.value);
	else
		it->second.ops.push_back(op);
}

std::vector<Range> Writes::unknown(const Bytes& begin, const Bytes& end) const {
	std::vector<Range> covered, rest;
	auto it = cleared.upper_bound(begin);
	if (it != cleared.begin())
		--it;
	for (; it != cleared.end() && it->first < end; ++it)
		covered.push_back({it->first, it->second});
	for (auto key = keys.lower_bound(begin); key != keys.end() && key->first < end; ++key)
		if (key->second.known)
			covered.push_back({key->first, next_key(key->first)});
	std::sort(covered.begin(), covered.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
	Bytes at = begin;
	for (const Range& c : covered) {
		if (c.begin > at)
			rest.push_back({at, std::min(c.begin, end)});
		at = std::max(at, c.end);
	}
	if (at < end)
		rest.push_back({at, end});
	return rest;
}

size_t Writes::size() const {
	constexpr size_t each = 40; // about what the real client counts for a mutation beside its bytes
	size_t n = 0;
	for (const auto& [key, write] : keys) {
		n += each + key.size() + write.value.value_or("").size();
		for (const Atomic& op : write.ops)
			n += each + key.size() + op.parameter.size();
	}
	for (const auto& [begin, end] : cleared)
		n += each + begin.size() + end.size();
	for (const auto& [key, value] : stamped_keys)
		n += each + key.size() + value.size();
	return n;
}

Cluster& Cluster::named(const std::string& name) {
	static std::mutex mutex; // callers of the API come from any thread
	static auto* all = new std::map<std::string, Cluster>;
	std::lock_guard<std::mutex> hold(mutex);
	return (*all)[name];
}

void Cluster::perform(std::function<void()> f) {
	if (available)
		f();
	else
		parked.push_back(std::move(f));
}

void Cluster::set_available(bool now) {
	available = now;
	if (!now)
		return;
	std::vector<std::function<void()>> waiting;
	waiting.swap(parked);
	for (auto& f : waiting)
		f();
}

void Cluster::deliver(const std::shared_ptr<Promise>& promise, fdb_error_t code) {
	if (latency.count() == 0)
		return promise->finish(code);
	loop().at(Clock::now() + latency, [promise, code] { promise->finish(code); });
}

int64_t Cluster::read_version() { return issued = std::max(issued, now_version()); }

int64_t Cluster::oldest() const { return now_version() - window; }

void Cluster::check_age(int64_t version) const {
	if (version < oldest())
		throw Fail{too_old};
}

Maybe Cluster::get(const Bytes& key, int64_t version) const {
	auto row = rows.find(key);
	if (row == rows.end())
		return {};
	const History& history = row->second;
	for (auto at = history.rbegin(); at != history.rend(); ++at)
		if (at->first <= version)
			return at->second;
	return {};
}

const Bytes* Cluster::at_or_after(const Bytes& key) const {
	auto row = rows.lower_bound(key);
	return row == rows.end() ? nullptr : &row->first;
}

const Bytes* Cluster::before(const Bytes& key) const {
	auto row = rows.lower_bound(key);
	return row == rows.begin() ? nullptr : &std::prev(row)->first;
}

void Cluster::put(const Bytes& key, Maybe value, int64_t version) {
	History& history = rows[key];
	if (!history.empty() && history.back().first == version)
		history.back().second = std::move(value);
	else
		history.emplace_back(version, std::move(value));
	touched.emplace_back(version, key);
}

// prune forgets what no transaction may read any more.
void Cluster::prune() {
	const int64_t limit = oldest();
	while (!commits.empty() && commits.front().version < limit)
		commits.pop_front();
	for (; !touched.empty() && touched.front().first < limit; touched.pop_front()) {
		auto row = rows.find(touched.front().second);
		if (row == rows.end())
			continue;
		History& history = row->second;
		while (history.size() > 1 && history[1].first < limit)
			history.erase(history.begin());
		if (history.size() == 1 && history[0].first < limit && !history[0].second)
			rows.erase(row);
	}
}

int64_t Cluster::commit(int64_t version, const std::vector<Range>& read, const std::vector<Range>& wrote,
                        const Writes& writes) {
	if (!read.empty()) {
		check_age(version);
		for (auto c = commits.rbegin(); c != commits.rend() && c->version > version; ++c)
			for (const Range& w : c->wrote)
				for (const Range& r : read)
					if (r.begin < w.end && w.begin < r.end)
						throw Fail{not_committed};
	}
	prune();
	issued = std::max(issued + 1, now_version());
	std::vector<Range> effect = wrote;
	for (const auto& [begin, end] : writes.cleared)
		for (auto row = rows.lower_bound(begin); row != rows.end() && row->first < end; ++row)
			put(row->first, {}, issued);
	for (const auto& [key, write] : writes.keys) {
		Maybe value = write.known ? write.value : get(key, issued);
		if (write.stamped)
			value = stamp(*value, issued);
		for (const Atomic& op : write.ops)
			value = applied(op, value);
		put(key, value, issued);
	}
	for (const auto& [key, value] : writes.stamped_keys) {
		Bytes stamped = stamp(key, issued);
		put(stamped, value, issued);
		effect.push_back({stamped, next_key(stamped)});
	}
	commits.push_back({issued, std::move(effect)});
	return issued;
}
