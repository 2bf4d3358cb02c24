//! The benchmark's records and routes: a shop's item and order, a patient, a sensor's reading, a WHMCS invoice.

use super::*;

const SHOP_ITEM: &[(&str, ColumnType)] = &[
    ("id", INT),
    ("sku", TEXT),
    ("name", TEXT),
    ("category", TEXT),
    ("subcategory", TEXT),
    ("brand", TEXT),
    ("color", TEXT),
    ("price", MONEY),
    ("stock", INT),
    ("active", ColumnType::Bool),
    ("description", TEXT),
    ("updated_at", WHEN),
];

pub(super) fn shop_item_plain() -> Case {
    let record = json!({
        "id": 0, "sku": "PRC-911-15", "name": "Porsche 911, 1:15", "category": "cars", "subcategory": "models", "brand": "Porsche",
        "color": "Guards red", "price": 1500000.00, "stock": 4, "active": true, "description": "A fine model with doors that open.",
        "updated_at": "2025-06-01T08:00:00+07:00",
    });
    Case::new("plain", "shop_item", SHOP_ITEM, &json!({"columns": "matching"}), &record, vec![])
}

pub(super) fn shop_item_cleaned() -> Case {
    let record = json!({
        "id": 0, "sku": " prc-911-15 ", "name": "Porsche  911,  1:15 ", "category": "CARS", "subcategory": "scale models",
        "brand": "porsche", "color": "N/A", "price": "Rp 1.500.000,00", "stock": "4 pcs", "active": "yes",
        "description": "<p>A <b>fine</b> model with doors &amp; a bonnet that open.</p>", "updated_at": "01/06/2025 08:00",
    });
    let columns = json!({
        "id": "id",
        "sku": {"clean": ["trim", "upper"], "pattern": "^[A-Z]{3}-[0-9]+-[0-9]+$"},
        "name": {"clean": ["collapse", "trim", {"truncate": 100}]},
        "category": {"clean": ["trim", "lower"], "one_of": ["cars", "bikes", "boats"]},
        "subcategory": {"clean": ["title"]},
        "brand": {"clean": [{"map": {"porsche": "Porsche", "vw": "Volkswagen", "*": "other"}}]},
        "color": {"clean": [{"null_if": ["N/A", "-", ""]}]},
        "price": {"clean": [{"number": "id-ID"}, {"round": 2}], "as": "decimal", "min": 0, "max": 1_000_000_000},
        "stock": {"clean": ["digits", "null_if_empty"], "as": "int", "min": 0},
        "active": {"as": "bool"},
        "description": {"clean": ["strip_html", "trim"], "length": {"max": 500}},
        "updated_at": {"as": "timestamp", "format": "%d/%m/%Y %H:%M", "zone": "Asia/Jakarta"},
    });
    Case::new("cleaned", "shop_item", SHOP_ITEM, &json!({ "columns": columns }), &record, vec![])
}

const SENSOR: &[(&str, ColumnType)] = &[
    ("id", INT),
    ("device", TEXT),
    ("at", WHEN),
    ("temperature", ColumnType::Float { bits: 64 }),
    ("humidity", ColumnType::Decimal { precision: Some(5), scale: Some(2) }),
    ("battery", INT),
];

pub(super) fn sensor_plain() -> Case {
    let record = json!({
        "id": 0, "device": "greenhouse-7/probe-2", "at": "2025-06-01T08:00:00.125Z", "temperature": 27.4375, "humidity": 61.25, "battery": 87,
    });
    Case::new("plain", "sensor_reading", SENSOR, &json!({"columns": "matching"}), &record, vec![])
}

pub(super) fn sensor_cleaned() -> Case {
    let record = json!({
        "id": 0, "device": "Greenhouse-7/Probe-2", "at": 1_748_736_000_125_u64, "temperature": 27.437_519, "humidity": "61.254", "battery": "87",
    });
    let columns = json!({
        "id": "id",
        "device": {"clean": ["lower"]},
        "at": {"as": "timestamp", "format": "unix_ms"},
        "temperature": {"clean": [{"round": 3}], "min": -60, "max": 80},
        "humidity": {"clean": [{"round": 2}], "as": "decimal", "min": 0, "max": 100},
        "battery": {"as": "int", "min": 0, "max": 100},
    });
    Case::new("cleaned", "sensor_reading", SENSOR, &json!({ "columns": columns }), &record, vec![])
}

const INVOICE: &[(&str, ColumnType)] = &[
    ("id", INT),
    ("userid", INT),
    ("invoicenum", TEXT),
    ("date", ColumnType::Date),
    ("duedate", ColumnType::Date),
    ("datepaid", WHEN),
    ("subtotal", MONEY),
    ("credit", MONEY),
    ("tax", MONEY),
    ("total", MONEY),
    ("status", TEXT),
    ("paymentmethod", TEXT),
];

pub(super) fn invoice_plain() -> Case {
    let record = json!({
        "id": 0, "userid": 1042, "invoicenum": "INV-2025-0001", "date": "2025-06-01", "duedate": "2025-06-15",
        "datepaid": "2025-06-03T10:15:00Z", "subtotal": "150000.00", "credit": "0.00", "tax": "16500.00", "total": "166500.00",
        "status": "Paid", "paymentmethod": "banktransfer",
    });
    Case::new("plain", "invoice", INVOICE, &json!({"columns": "matching"}), &record, vec![])
}

pub(super) fn invoice_cleaned() -> Case {
    let record = json!({
        "id": 0, "userid": "1042", "invoicenum": " inv-2025-0001", "date": "01/06/2025", "duedate": "15/06/2025",
        "datepaid": "2025-06-03 10:15:00", "subtotal": "Rp150.000,00", "credit": "0,00", "tax": "Rp16.500,00", "total": "Rp166.500,00 IDR",
        "status": "PAID", "paymentmethod": "Bank Transfer",
    });
    let money = json!({"clean": [{"number": "id-ID"}], "min": 0});
    let columns = json!({
        "id": "id",
        "userid": {"as": "int", "min": 1},
        "invoicenum": {"clean": ["trim", "upper"], "pattern": "^INV-"},
        "date": {"as": "date", "format": "%d/%m/%Y"},
        "duedate": {"as": "date", "format": "%d/%m/%Y", "min": "01/01/2000"},
        "datepaid": {"clean": [{"null_if": ["0000-00-00 00:00:00"]}], "as": "timestamp", "zone": "Asia/Jakarta"},
        "subtotal": money, "credit": money, "tax": money, "total": money,
        "status": {"clean": ["title"], "one_of": ["Paid", "Unpaid", "Cancelled", "Refunded"]},
        "paymentmethod": {"clean": ["lower", {"replace": [" ", ""]}], "length": {"max": 30}},
    });
    Case::new("cleaned", "invoice", INVOICE, &json!({ "columns": columns }), &record, vec![])
}

pub(super) fn patient_nested() -> Case {
    let columns = &[
        ("id", INT),
        ("family", TEXT),
        ("given", TEXT),
        ("born", ColumnType::Date),
        ("street", TEXT),
        ("city", TEXT),
        ("postcode", TEXT),
        ("phone", TEXT),
        ("allergy", TEXT),
    ];
    let record = json!({
        "id": 0, "name": {"family": "Santoso", "given": ["Budi", "A."]}, "born": "1980-02-29",
        "address": {"street": "Jl. Merdeka 1", "city": "Jakarta", "postcode": "10110", "country": "ID"},
        "contact": {"phone": "+62 812 345 678", "email": "budi@example.org"},
        "allergies": [{"code": "91936005", "text": "Penicillin"}, {"code": "300913006", "text": "Shellfish"}],
    });
    let route = json!({"columns": {
        "id": "id", "family": "name.family", "given": "name.given[0]", "born": "born", "street": "address.street",
        "city": "address.city", "postcode": "address.postcode", "phone": "contact.phone", "allergy": "allergies[0].text",
    }});
    Case::new("nested", "patient", columns, &route, &record, vec![])
}

fn order() -> Value {
    let line = |sku: &str, quantity: u32, price: f64| json!({"sku": sku, "qty": quantity, "price": price, "name": "An item of the shop"});
    json!({
        "id": 0, "customer": "C-1042", "status": "open", "currency": "IDR", "placed_at": "2025-06-01T08:00:00+07:00", "shipping": 25000.0,
        "lines": [
            line("PRC-911-15", 1, 1_500_000.0), line("LAM-MIU-18", 2, 900_000.0), line("BOX-S", 3, 5_000.0),
            line("BOX-L", 1, 12_500.0), line("CARD", 10, 2_500.0),
        ],
    })
}

const ORDER: &[(&str, ColumnType)] =
    &[("id", INT), ("customer", TEXT), ("status", TEXT), ("placed_at", WHEN), ("shipping", MONEY), ("total", MONEY)];

pub(super) fn order_expression() -> Case {
    let route = json!({
        "filter": "data.status != 'draft'",
        "columns": {
            "id": "id", "customer": "customer", "status": "status", "placed_at": "placed_at", "shipping": "shipping",
            "total": {"expr": "data.lines[0].price * double(data.lines[0].qty) + data.shipping"},
        },
    });
    Case::new("expression", "order", ORDER, &route, &order(), vec![])
}

pub(super) fn order_with_lines() -> Case {
    let columns = &ORDER[..5];
    let lines = &[("order_id", INT), ("line", INT), ("sku", TEXT), ("qty", INT), ("price", MONEY)];
    let route = json!({
        "columns": {"id": "id", "customer": "customer", "status": "status", "placed_at": "placed_at", "shipping": "shipping"},
        "children": [{
            "from": "lines", "table": "order_lines", "parent": {"order_id": "id"},
            "columns": {"line": {"meta": "index"}, "sku": "sku", "qty": "qty", "price": "price"},
        }],
    });
    let mut lines = table("order_lines", lines);
    lines.unique_keys = vec![vec!["order_id".to_owned(), "line".to_owned()]];
    Case::new("children", "order", columns, &route, &order(), vec![lines])
}
