"""All links of a plan: when each connects, what it sends next, what its replies mean. No sockets, no clocks.

    begin_tick, call, run_timers ──▶ pump ──▶ transport.send        transport ──▶ receive, sent, up, down
                                  └────────▶ transport.connect, transport.close

The transport is sockets (reactor.pyx) or whatever takes bytes and gives bytes: streams, a simulated network.

Invariants:
1. A link that is not up has nothing in flight; its cells say why.
2. Every event of the conversation, and every end of a link, reaches the schedule or the calls, which keep the
   books.
3. Calls go ahead of the plan's reads.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memmove

from fluxfast.link.calls cimport (
    Call, calls_answer, calls_deadline, calls_expire, calls_fail, calls_free, calls_has_answer, calls_make,
    calls_next, calls_request, calls_resume, calls_submit,
)
from fluxfast.link.conversation cimport (
    EVENT_ANSWER, EVENT_BROKEN, EVENT_FOREIGN, EVENT_LATE, EVENT_NONE, EVENT_REPLY, Conversation, Event,
    conversation_call, conversation_deadline, conversation_expire, conversation_next, conversation_open,
    conversation_ready_ns, conversation_request,
)
from fluxfast.link.schedule cimport (
    schedule_begin_down, schedule_begin_link, schedule_begin_tick, schedule_end_tick,
    schedule_expects_silence, schedule_fail, schedule_link_down, schedule_next, schedule_random,
    schedule_reply,
)
from fluxfast.link.structs cimport Block, LinkPlan
from fluxfast.link.timers cimport timers_free, timers_make, timers_pop, timers_want
from fluxfast.link.trace cimport (
    TRACE_BROKEN, TRACE_DOWN, TRACE_FAILED, TRACE_FOREIGN, TRACE_LATE, TRACE_REPLY, TRACE_UP, is_traced,
    trace_add, trace_free, trace_kind, trace_sent,
)
from fluxfast.modbus.constants cimport FX_MAX_TCP_ADU_SIZE
from fluxfast.table.quality cimport Q_FRAMING, Q_LOST, Q_NEVER, Q_NO_HOST, Q_TIMEOUT, Q_UNREACHABLE

cdef int64_t SECOND = 1_000_000_000
cdef int64_t BACKOFF_BASE = SECOND // 2
cdef int64_t BACKOFF_FIRST = SECOND // 50
cdef int64_t CONNECT_BURST = SECOND // 100  # pacing may catch up on this much of a late wake-up
cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF


cdef bint links_make(Links *s, const LinkPlan *plans, int32_t n_links, int32_t n_calls) noexcept nogil:
    # The schedule is made by the caller. False if there is no memory.
    cdef int32_t i
    s.plans = plans
    s.n_links = s.next_link = n_links
    s.links = <Link *>calloc(n_links, sizeof(Link))
    if not timers_make(&s.timers, n_links) or not calls_make(&s.calls, n_calls, n_links) or s.links == NULL:
        return False
    for i in range(n_links):
        s.links[i].failure = Q_NEVER
    return True


cdef void links_free(Links *s) noexcept nogil:
    timers_free(&s.timers)
    calls_free(&s.calls)
    trace_free(&s.trace)
    free(s.links)


cdef void links_start(Links *s, int32_t i) noexcept nogil:
    # It has an address now: let it connect if it is not up.
    if s.links[i].state == LINK_NO_ADDRESS:
        s.links[i].state = LINK_WAITING
        s.links[i].wake_ns = 0
        timers_want(&s.timers, i, 0)


# ---- sending ----

cdef void links_begin_tick(Links *s, int64_t tick, int64_t now_ns, int64_t deadline_ns) noexcept nogil:
    schedule_begin_tick(&s.schedule, now_ns, deadline_ns)
    s.tick = tick
    s.next_link = 0


cdef int64_t links_phase_ns(const Links *s) noexcept nogil:
    # When the open tick has something to send that it has not sent yet; or the end of time.
    if not s.schedule.tick_open or s.next_link == s.n_links:
        return NEVER
    return s.schedule.tick_begin_ns + s.plans[s.next_link].phase_ns


cdef bint links_send_next(Links *s, int64_t now_ns) noexcept nogil:
    # Send to one more link what the tick reads of it; false if none is to be sent to yet.
    if now_ns < links_phase_ns(s):
        return False
    begin_next(s, now_ns)
    links_pump(s, s.next_link - 1, now_ns)
    return True


cdef void begin_next(Links *s, int64_t now) noexcept nogil:
    # The tick comes to one more link: what it reads of it is due, or is bad because the link is down.
    cdef int32_t i = s.next_link
    s.next_link += 1
    if s.links[i].state == LINK_UP:
        schedule_begin_link(&s.schedule, i, s.tick, now)
    else:
        schedule_begin_down(&s.schedule, i, s.links[i].failure)


cdef bint links_complete(const Links *s) noexcept nogil:
    # Whether a tick is open that waits for nothing any more.
    return s.schedule.tick_open and s.schedule.outstanding == 0 and s.next_link == s.n_links


cdef int links_end_tick(Links *s, int64_t now_ns) noexcept nogil:
    # A link that had not even been sent to has missed the tick too.
    while s.next_link < s.n_links:
        begin_next(s, now_ns)
    return schedule_end_tick(&s.schedule, now_ns)


cdef void links_call(
    Links *s, int32_t i, int32_t slot, uint8_t unit_id, const uint8_t *pdu, uint16_t size,
    int64_t timeout_ns, int64_t expires_ns, int64_t now_ns
) noexcept nogil:
    calls_submit(&s.calls, slot, i, unit_id, pdu, size, timeout_ns, expires_ns)
    send_calls(s, i, now_ns)


cdef void links_resume(Links *s, int32_t slot, int64_t now_ns) noexcept nogil:
    # The slot's outcome has been taken: what has waited for that may go, if its time is not over.
    cdef int32_t i = s.calls.calls[slot].link
    if calls_resume(&s.calls, slot):
        calls_expire(&s.calls, i, now_ns, why_not_sent(&s.links[i]))
        send_calls(s, i, now_ns)


cdef void send_calls(Links *s, int32_t i, int64_t now) noexcept nogil:
    # Calls whose link is down let it connect now, and wait for that; if it fails, so do they.
    cdef Link *k = &s.links[i]
    links_pump(s, i, now)
    if s.calls.heads[i] >= 0 and k.state == LINK_WAITING and not k.has_slot:
        k.wake_ns = min(k.wake_ns, now)
        timers_want(&s.timers, i, k.wake_ns)


cdef void links_pump(Links *s, int32_t i, int64_t now_ns) noexcept nogil:
    # Send what is next, as much as the link's depth and gap allow, in one segment.
    cdef Link *k = &s.links[i]
    while k.state == LINK_UP and k.out_size == 0 and fill(s, i, now_ns):
        k.tried_ns = now_ns
        timers_want(&s.timers, i, conversation_deadline(&k.conversation))
        if is_traced(&s.trace, i):
            trace_sent(&s.trace, i, now_ns, k.out, k.out + k.out_size)
        flush(s, i, now_ns)
    if s.calls.heads[i] >= 0:  # those that could not go yet must end in time, too
        timers_want(&s.timers, i, calls_deadline(&s.calls, i))


cdef bint fill(Links *s, int32_t i, int64_t now) noexcept nogil:
    # Put requests into `out`; whether there are any.
    cdef Link *k = &s.links[i]
    cdef const LinkPlan *plan = &s.plans[i]
    cdef int32_t b
    cdef int64_t wait
    while k.conversation.in_flight < plan.max_in_flight and k.out_size <= OUT_SIZE - FX_MAX_TCP_ADU_SIZE:
        wait = max(k.next_send_ns, conversation_ready_ns(&k.conversation, 2 * plan.timeout_ns))
        if now >= wait:
            b = calls_next(&s.calls, i, now) if s.calls.heads[i] >= 0 else -1
            if b >= 0:
                k.out_size += put_call(s, i, b, now)
            else:
                b = schedule_next(&s.schedule, i, now, &wait)
                if b >= 0:
                    conversation_request(&k.conversation, s.schedule.blocks, b, now, k.out + k.out_size)
                    k.out_size += REQUEST_SIZE
            if b >= 0:
                s.requests += 1
                if plan.request_gap_ns:
                    k.next_send_ns = NEVER  # until the reply
                    break
                continue
        if wait != NEVER:
            timers_want(&s.timers, i, wait)
        break
    return k.out_size > 0


cdef int32_t put_call(Links *s, int32_t i, int32_t slot, int64_t now) noexcept nogil:
    cdef const Call *call = &s.calls.calls[slot]
    cdef Link *k = &s.links[i]
    cdef uint8_t *out = k.out + k.out_size
    cdef uint16_t size = calls_request(call, out + 7)
    cdef uint8_t aliases[2]
    cdef const Block *b
    cdef int32_t n
    # A unit's aliases stand in its blocks; one that the plan does not read has none.
    aliases[0] = aliases[1] = call.unit_id
    for n in range(s.plans[i].n_blocks):
        b = &s.schedule.blocks[s.plans[i].first_block + n]
        if b.unit_id == call.unit_id:
            aliases[0], aliases[1] = b.aliases[0], b.aliases[1]
            break
    return <int32_t>conversation_call(
        &k.conversation, slot, call.unit_id, aliases, size, min(now + call.timeout_ns, call.expires_ns), now,
        out,
    )


cdef void flush(Links *s, int32_t i, int64_t now) noexcept nogil:
    cdef Link *k = &s.links[i]
    cdef long sent = s.transport.send(s.transport.owner, i, k.out, k.out_size)
    if sent < 0:
        links_down(s, i, Q_LOST, False, now)
        return
    k.out_size -= <int32_t>sent
    if k.out_size > 0:
        memmove(k.out, k.out + sent, k.out_size)


cdef void links_sent(Links *s, int32_t i, int64_t now_ns) noexcept nogil:
    # The transport takes bytes again.
    if s.links[i].state == LINK_UP and s.links[i].out_size > 0:
        flush(s, i, now_ns)
    links_pump(s, i, now_ns)


# ---- receiving ----

cdef void links_receive(
    Links *s, int32_t i, const uint8_t *p, const uint8_t *end, int64_t now_ns
) noexcept nogil:
    # [p, end) begins with what the conversation held back (`rest`), whose `held` the caller has cleared.
    cdef Link *k = &s.links[i]
    cdef bint traced = is_traced(&s.trace, i)
    cdef const uint8_t *frame
    cdef Event event
    while True:
        frame = p
        conversation_next(&k.conversation, s.schedule.blocks, &p, end, &event)
        if traced:
            trace_event(s, i, &event, now_ns, frame, (end if p == frame else p) - frame)
        if event.kind == EVENT_NONE:
            break
        if event.kind == EVENT_BROKEN:
            k.evidence = <uint16_t>min(end - frame, FX_MAX_TCP_ADU_SIZE)
            memmove(k.conversation.rest, frame, k.evidence)
            links_down(s, i, event.quality, True, now_ns)
            return
        if event.kind == EVENT_LATE:
            k.late += 1
        elif event.kind == EVENT_FOREIGN:
            k.foreign += 1
        elif not credit(s, i, &event, now_ns):
            links_down(s, i, Q_FRAMING, True, now_ns)
            return
        elif event.ends_stream:
            links_down(s, i, event.quality, True, now_ns)
            return
    links_pump(s, i, now_ns)


cdef void trace_event(
    Links *s, int32_t i, const Event *event, int64_t now, const uint8_t *frame, Py_ssize_t size
) noexcept nogil:
    cdef trace_kind kind = TRACE_FAILED
    if event.kind == EVENT_NONE:
        return
    if event.kind == EVENT_REPLY or event.kind == EVENT_ANSWER:
        kind = TRACE_REPLY
    elif event.kind == EVENT_LATE:
        kind = TRACE_LATE
    elif event.kind == EVENT_FOREIGN:
        kind = TRACE_FOREIGN
    elif event.kind == EVENT_BROKEN and size > 0:
        kind = TRACE_BROKEN
    trace_add(&s.trace, i, kind, event.quality, event.id, event.sent_ns, now, frame, size)


cdef bint credit(Links *s, int32_t i, Event *event, int64_t now) noexcept nogil:
    # A request has ended. False if its answer shows that the stream can't be trusted.
    cdef Link *k = &s.links[i]
    cdef bint sound = True
    if s.plans[i].request_gap_ns:
        k.next_send_ns = now + s.plans[i].request_gap_ns
    if event.kind == EVENT_REPLY:
        schedule_reply(&s.schedule, event.block, event.data, event.sent_ns, now)
        k.attempts = 0
    elif event.kind == EVENT_ANSWER:
        sound = not calls_answer(&s.calls, ~event.block, event.data, event.end, now)
        if k.conversation.zero_ids and not calls_has_answer(&s.calls, ~event.block):
            sound = False  # it may have been the answer to an earlier request
        k.attempts = 0
    elif event.block < 0:
        calls_fail(&s.calls, ~event.block, event.quality, now)
    else:
        schedule_fail(&s.schedule, event.block, event.quality, event.sent_ns, now)
    return sound


# ---- links coming and going ----

cdef void links_run_timers(Links *s, int64_t now_ns) noexcept nogil:
    cdef int32_t i = timers_pop(&s.timers, now_ns)
    cdef Link *k
    cdef int64_t wait
    while i >= 0:
        k = &s.links[i]
        if s.calls.heads[i] >= 0:
            calls_expire(&s.calls, i, now_ns, why_not_sent(k))
            wait = calls_deadline(&s.calls, i)
            if wait != NEVER:
                timers_want(&s.timers, i, wait)
        if k.state == LINK_UP:
            expire(s, i, now_ns)
        elif k.state != LINK_NO_ADDRESS and now_ns < k.wake_ns:
            timers_want(&s.timers, i, k.wake_ns)
        elif k.state == LINK_WAITING:
            connect(s, i, now_ns)
        elif k.state == LINK_CONNECTING:
            links_down(s, i, Q_UNREACHABLE, False, now_ns)
        i = timers_pop(&s.timers, now_ns)


cdef uint8_t why_not_sent(const Link *k) noexcept nogil:
    # A call's time is over before it had its turn.
    if k.state == LINK_UP:
        return Q_TIMEOUT
    if k.state == LINK_NO_ADDRESS:
        return Q_NO_HOST
    return Q_UNREACHABLE if k.state == LINK_CONNECTING or k.failure == Q_NEVER else k.failure


cdef void expire(Links *s, int32_t i, int64_t now) noexcept nogil:
    cdef Link *k = &s.links[i]
    cdef Conversation *c = &k.conversation
    cdef Event event
    while conversation_expire(c, now, &event):
        if event.block >= 0 and schedule_expects_silence(&s.schedule, event.block):
            c.timeouts -= 1
        if is_traced(&s.trace, i):
            trace_event(s, i, &event, now, NULL, 0)
        credit(s, i, &event, now)
        if event.kind == EVENT_BROKEN or c.timeouts >= (
            MAX_TIMEOUTS if s.plans[i].n_units == 1 else MAX_TIMEOUTS_OF_UNITS
        ):
            links_down(s, i, Q_TIMEOUT, True, now)
            return
    if c.in_flight:
        timers_want(&s.timers, i, conversation_deadline(c))
    links_pump(s, i, now)


cdef void connect(Links *s, int32_t i, int64_t now) noexcept nogil:
    cdef Link *k = &s.links[i]
    if not k.has_slot:
        k.wake_ns = max(s.connect_slot_ns, now - CONNECT_BURST)
        k.has_slot = 1
        s.connect_slot_ns = k.wake_ns + s.connect_interval_ns
        if k.wake_ns > now:
            timers_want(&s.timers, i, k.wake_ns)
            return
    k.has_slot = 0
    k.tried_ns = now
    k.connects += 1
    k.state = LINK_CONNECTING
    k.wake_ns = now + s.plans[i].timeout_ns
    timers_want(&s.timers, i, k.wake_ns)
    s.transport.connect(s.transport.owner, i, now)


cdef void links_up(Links *s, int32_t i, int64_t now_ns) noexcept nogil:
    # The transport has connected.
    cdef Link *k = &s.links[i]
    k.state = LINK_UP
    k.evidence = 0
    k.next_send_ns = now_ns + s.plans[i].connect_delay_ns
    conversation_open(
        &k.conversation, <uint16_t>schedule_random(&s.schedule), <uint8_t>s.plans[i].zero_ids
    )
    s.up += 1
    if is_traced(&s.trace, i):
        trace_add(&s.trace, i, TRACE_UP, 0, 0, 0, now_ns, NULL, 0)
    settle(s, i, 0)
    links_pump(s, i, now_ns)


cdef void links_down(Links *s, int32_t i, uint8_t quality, bint abort, int64_t now_ns) noexcept nogil:
    # Close the connection, fail all that waits for it, and try again after a jittered, growing wait.
    cdef Link *k = &s.links[i]
    cdef Conversation *c = &k.conversation
    cdef bint was_up = k.state == LINK_UP
    cdef bint news = was_up or k.failure != quality
    cdef int64_t ceiling
    cdef int32_t t
    if is_traced(&s.trace, i):
        trace_add(&s.trace, i, TRACE_DOWN, quality, 0, 0, now_ns, NULL, 0)
    if k.state >= LINK_CONNECTING:
        s.transport.close(s.transport.owner, i, abort)
    for t in range(c.in_flight):
        if c.transactions[t].block < 0:
            calls_fail(&s.calls, ~c.transactions[t].block, quality, now_ns)
    c.in_flight = 0
    c.held = 0
    k.out_size = 0
    schedule_link_down(&s.schedule, i, quality)
    if was_up:
        s.up -= 1
    else:
        calls_expire(&s.calls, i, NEVER, quality)
    k.failure = quality
    if news:
        settle(s, i, quality)
    if quality == Q_NO_HOST:
        return  # stays without an address until it gets one
    # A link that has just served well may come back at once; the pacing keeps many of them from a storm.
    # The wait is counted from the end of this try, its cap from the beginning: a try that itself lasts (a
    # black hole) is followed by the next one within probe_interval all the same.
    ceiling = min(BACKOFF_BASE << min(k.attempts, 16), s.probe_interval_ns) if k.attempts else BACKOFF_FIRST
    k.attempts += k.attempts < 255
    k.state = LINK_WAITING
    k.has_slot = 0
    k.wake_ns = min(
        now_ns + <int64_t>(schedule_random(&s.schedule) % <uint64_t>ceiling),
        max(now_ns, k.tried_ns + s.probe_interval_ns),
    )
    timers_want(&s.timers, i, min(k.wake_ns, calls_deadline(&s.calls, i)))


cdef void settle(Links *s, int32_t i, uint8_t quality) noexcept nogil:
    # The link's first outcome is known; and there is news to tell (the oldest is kept if nobody listens).
    if not s.links[i].settled:
        s.links[i].settled = 1
        s.settled += 1
    if s.n_events < EVENTS:
        s.events[s.n_events] = i
        s.event_quality[s.n_events] = quality
        s.n_events += 1
