"""The invented bilingual world, its teacher, and the base models that were pre-trained in it."""
