"""The reference of delivery: one process per database, each with a consumer group of its own on one stream.

XREADGROUP COUNT 2000, JSON, one upsert statement per batch, XACK after its commit. The clock runs from the moment all are
connected until the slowest has acknowledged everything. usage: reference.py '{"redis": port, "stream": name,
"records": n, "batch": n, "databases": [["postgres"|"mysql", port, name], ...]}'; prints {"seconds": s}."""
import json
import multiprocessing
import sys
import time

import redis

POSTGRES = (
    "INSERT INTO cars SELECT * FROM unnest(%s::bigint[], %s::text[], %s::int[], %s::numeric[]) ON CONFLICT (id) DO UPDATE"
    " SET car_name = excluded.car_name, stock = excluded.stock, price = excluded.price"
)
MYSQL = " ON DUPLICATE KEY UPDATE car_name = VALUES(car_name), stock = VALUES(stock), price = VALUES(price)"


def postgres(port, database):
    import psycopg

    cursor = psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname={database}", autocommit=True).cursor()

    def write(rows):
        ids, names, stocks, prices = zip(*rows)
        numbers = ["{" + ",".join(map(str, column)) + "}" for column in (ids, stocks, prices)]
        texts = '{"' + '","'.join(names) + '"}'
        cursor.execute(POSTGRES, (numbers[0], texts, numbers[1], numbers[2]), prepare=True)

    return write


def mysql(port, database):
    import MySQLdb

    connection = MySQLdb.connect(
        host="127.0.0.1", port=port, user="root", db=database, autocommit=True, charset="utf8mb4"
    )

    def write(rows):
        connection.query("INSERT INTO cars VALUES " + ",".join("(%d,'%s',%d,%s)" % row for row in rows) + MYSQL)

    return write


def deliver(task, kind, port, database, start, times):
    log = redis.Redis(port=task["redis"], protocol=2)
    group = f"{kind}-{database}"
    log.xgroup_create(task["stream"], group, "0")
    write = {"postgres": postgres, "mysql": mysql}[kind](port, database)
    start.wait()
    begun, done = time.perf_counter(), 0
    while done < task["records"]:
        entries = log.xreadgroup(group, "reference", {task["stream"]: ">"}, count=task["batch"])[0][1]
        records = (json.loads(fields[b"d"]) for _, fields in entries)
        write([(record["id"], record["car_name"], record["stock"], record["price"]) for record in records])
        log.xack(task["stream"], group, *[entry[0] for entry in entries])
        done += len(entries)
    times.put((begun, time.perf_counter()))


def main():
    task = json.loads(sys.argv[1])
    start, times = multiprocessing.Barrier(len(task["databases"])), multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=deliver, args=(task, *database, start, times)) for database in task["databases"]
    ]
    for worker in workers:
        worker.start()
    spans = [times.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    print(json.dumps({"seconds": max(end for _, end in spans) - min(begun for begun, _ in spans)}))


if __name__ == "__main__":
    main()
