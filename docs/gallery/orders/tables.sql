create table orders (
  id integer primary key,
  customer varchar(60) not null,
  city varchar(60),
  first_sku varchar(20),
  line_count integer
);
create table order_lines (
  order_id integer not null references orders (id),
  line_no integer not null,
  sku varchar(20) not null,
  qty integer not null,
  price decimal(14, 2) not null,
  primary key (order_id, line_no)
);
