create table shop_items (
  sku varchar(20) primary key,
  name varchar(60) not null,
  price decimal(14, 2) not null,
  weight_kg decimal(8, 2),
  state varchar(10) not null,
  colour varchar(20),
  note varchar(20)
);
